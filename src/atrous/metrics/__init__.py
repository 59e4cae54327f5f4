"""Metrics of label maps, with numpy only."""

from .bootstrap import Gain, bootstrap_gain, iou_counts
from .boundary import (
    TRIMAP_BANDS_PX,
    boundary_counts,
    distance_to_boundary,
    trimap_confusions,
)
from .confusion import (
    class_accuracy,
    confusion_matrix,
    frequency_weighted_iou,
    miou,
    per_class_iou,
    pixel_accuracy,
)

__all__ = [
    "TRIMAP_BANDS_PX",
    "Gain",
    "bootstrap_gain",
    "boundary_counts",
    "class_accuracy",
    "confusion_matrix",
    "distance_to_boundary",
    "frequency_weighted_iou",
    "iou_counts",
    "miou",
    "per_class_iou",
    "pixel_accuracy",
    "trimap_confusions",
]
