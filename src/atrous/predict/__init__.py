"""The inference pipeline: `Segmenter`, the entry point of every prediction, and its result."""

from .segmentation import Segmentation
from .segmenter import Segmenter, check_device

__all__ = ["Segmentation", "Segmenter", "check_device"]
