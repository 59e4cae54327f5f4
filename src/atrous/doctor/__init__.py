"""Check whether a data set on disk can be used for training, and say how to fix it if not."""

from __future__ import annotations

from .examination import Examination, SplitFacts, examine
from .findings import Finding, judge
from .page import write_page

__all__ = ["Examination", "Finding", "SplitFacts", "examine", "judge", "write_page"]
