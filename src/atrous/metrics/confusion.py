"""The confusion matrix, and the metrics computed from it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def confusion_matrix(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    *,
    num_classes: int,
    ignore_index: int | None = 255,
) -> Counts:
    """Count pixels by true (rows) and predicted (columns) class.

    Args:
        truth: Integer labels of any shape.
        predicted: Integer labels of the same shape.
        num_classes: Classes, background included.
        ignore_index: True label of pixels that are not counted.

    Returns:
        (K, K) int64.

    Raises:
        InputError: If shapes differ, or a counted label is not a class.
    """
    if truth.shape != predicted.shape:
        raise InputError(
            f"true labels are {truth.shape} but predicted ones {predicted.shape}; they must agree"
        )
    counted = np.ones(truth.shape, bool) if ignore_index is None else truth != ignore_index
    rows, columns = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    for what, values in (("true", rows), ("predicted", columns)):
        if values.size and not (values.min() >= 0 and values.max() < num_classes):
            raise InputError(
                f"{what} labels run from {values.min()} to {values.max()}, but there are "
                f"{num_classes} classes (0-{num_classes - 1}) and {ignore_index} for unknown"
            )
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def per_class_iou(confusion: Counts) -> Floats:
    """Intersection over union of each class, (K,); NaN if neither map has the class."""
    hits = np.diag(confusion)
    return _divide(hits, confusion.sum(0) + confusion.sum(1) - hits)


def miou(confusion: Counts) -> float:
    """Mean of `per_class_iou` over the classes that occur; NaN if none does."""
    return _mean(per_class_iou(confusion))


def pixel_accuracy(confusion: Counts) -> float:
    """Share of the counted pixels with the right class."""
    return float(_divide(np.diag(confusion).sum(), confusion.sum()))


def frequency_weighted_iou(confusion: Counts) -> float:
    """Mean IoU, with each class weighted by its share of the true pixels."""
    weighted = np.nan_to_num(per_class_iou(confusion)) * confusion.sum(1)
    return float(_divide(weighted.sum(), confusion.sum()))


def class_accuracy(confusion: Counts) -> float:
    """Mean recall over the classes in the truth."""
    return _mean(_divide(np.diag(confusion), confusion.sum(1)))


def _divide(part: Any, whole: Any) -> Floats:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
