"""Report a training run on one HTML page."""

from .page import write_report
from .record import RunRecord, read_record

__all__ = ["RunRecord", "read_record", "write_report"]
