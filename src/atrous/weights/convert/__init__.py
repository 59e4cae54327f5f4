"""Converts weights files of other projects; the only package that knows their key names."""

from .conversion import Conversion
from .registry import KNOWN_TRAINING, convert_weights, read_foreign

__all__ = ["KNOWN_TRAINING", "Conversion", "convert_weights", "read_foreign"]
