"""From a photo to labels: `Segmenter`, the one door that everything else enters by."""

from .segmentation import Segmentation
from .segmenter import Segmenter, check_device

__all__ = ["Segmentation", "Segmenter", "check_device"]
