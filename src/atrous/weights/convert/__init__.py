"""Weight files of other projects; the only place that knows their names."""

from .conversion import Conversion
from .door import convert_weights, read_foreign

__all__ = ["Conversion", "convert_weights", "read_foreign"]
