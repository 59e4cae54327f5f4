"""Scores of label maps; numpy alone."""

from .confusion import class_accuracy, confusion_matrix, miou, per_class_iou, pixel_accuracy

__all__ = ["class_accuracy", "confusion_matrix", "miou", "per_class_iou", "pixel_accuracy"]
