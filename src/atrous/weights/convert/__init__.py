"""Weight files of other projects; the only place that knows their names."""

from .conversion import Conversion
from .provenance import KNOWN_TRAINING
from .registry import convert_weights, read_foreign

__all__ = ["KNOWN_TRAINING", "Conversion", "convert_weights", "read_foreign"]
