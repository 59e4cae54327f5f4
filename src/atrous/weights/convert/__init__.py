"""Weight files of other projects; the only place that knows their names."""

from .conversion import Conversion
from .door import convert_weights, read_foreign
from .known import KNOWN_TRAINING

__all__ = ["KNOWN_TRAINING", "Conversion", "convert_weights", "read_foreign"]
