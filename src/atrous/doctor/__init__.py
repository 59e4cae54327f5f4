"""Says whether a data set on disk will train, and what to do where it will not."""

from __future__ import annotations

from .examination import Examination, SplitFacts, examine
from .findings import Finding, judge
from .page import write_page

__all__ = ["Examination", "Finding", "SplitFacts", "examine", "judge", "write_page"]
