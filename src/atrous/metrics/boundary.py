"""Scores near the boundaries of objects: the trimap's bands, and boundary IoU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .confusion import Counts, confusion_matrix

# Widths of the paper's Figure 10, in pixels to each side of a boundary.
TRIMAP_BANDS_PX = (1, 2, 3, 4, 5, 7, 10, 15, 20, 25, 30, 35, 40)
# Of the image's diagonal: how deep a boundary is (Cheng et al. 2021).
BOUNDARY_SHARE = 0.02


def distance_to_boundary(labels: NDArray[Any], *, farthest_px: int) -> NDArray[np.float32]:
    """Measure how far each pixel lies from the nearest boundary between labels.

    Boundary pixels are those with a neighbour of another label above, below, left or right; the
    unknown label counts as a label, since data sets mark boundaries with it.

    Args:
        labels: (H, W) integers.
        farthest_px: Distances beyond are given as infinite.

    Returns:
        (H, W) float32 Euclidean distances in pixels, 0 on boundary pixels.
    """
    is_boundary = np.zeros(labels.shape, bool)
    for one, other in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        differs = labels[one] != labels[other]
        is_boundary[one] |= differs
        is_boundary[other] |= differs
    far = farthest_px + 1
    rows = np.where(is_boundary, 0, far).astype(np.int32)  # to the nearest in the same column
    for y in range(1, len(rows)):
        np.minimum(rows[y], rows[y - 1] + 1, out=rows[y])
    for y in range(len(rows) - 2, -1, -1):
        np.minimum(rows[y], rows[y + 1] + 1, out=rows[y])
    squares = rows**2
    nearest = squares.copy()
    for step in range(1, min(farthest_px, labels.shape[1] - 1) + 1):
        np.minimum(nearest[:, step:], squares[:, :-step] + step**2, out=nearest[:, step:])
        np.minimum(nearest[:, :-step], squares[:, step:] + step**2, out=nearest[:, :-step])
    return np.where(nearest > farthest_px**2, np.inf, np.sqrt(nearest)).astype(np.float32)


def trimap_confusions(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    *,
    num_classes: int,
    ignore_index: int | None = 255,
    bands_px: tuple[int, ...] = TRIMAP_BANDS_PX,
) -> Counts:
    """Count true against predicted classes in bands around the true boundaries.

    The band of r pixels holds what lies less than r from a boundary pixel (the boundary pixels of
    both sides belong to every band).

    Args:
        truth: (H, W) integer labels.
        predicted: (H, W) integer labels.
        num_classes: Classes, background included.
        ignore_index: True label of pixels that do not count.
        bands_px: Widths, rising.

    Returns:
        (B, K, K) int64, a confusion matrix a band.

    Source: DeepLab v2's Figure 10, after Krähenbühl & Koltun 2011.
    """
    distance = distance_to_boundary(truth, farthest_px=bands_px[-1])
    innermost = np.searchsorted(np.array(bands_px), distance, side="right")
    counts = [
        confusion_matrix(
            truth[innermost == band],
            predicted[innermost == band],
            num_classes=num_classes,
            ignore_index=ignore_index,
        )
        for band in range(len(bands_px))
    ]
    return np.cumsum(counts, axis=0)


def boundary_counts(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    *,
    num_classes: int,
    ignore_index: int | None = 255,
) -> Counts:
    """Count the pixels whose sum over a data set gives boundary IoU.

    The boundary of a mask is what of it lies within d pixels of its contour (in rows and columns
    alike, the image's edge included), d 2 % of the diagonal. Pixels of unknown truth belong to no
    mask.

    Args:
        truth: (H, W) integer labels.
        predicted: (H, W) integer labels.
        num_classes: Classes, background included.
        ignore_index: True label of pixels that do not count.

    Returns:
        (2, K) int64: intersections and unions of the true and the predicted boundary.

    Source: Cheng et al. 2021, "Boundary IoU".
    """
    depth = max(1, round(BOUNDARY_SHARE * float(np.hypot(*truth.shape))))
    nothing = num_classes
    known = np.ones(truth.shape, bool) if ignore_index is None else truth != ignore_index
    ours = np.where(known, truth, nothing).astype(np.int64)
    theirs = np.where(known, predicted, nothing).astype(np.int64)
    ours[_is_inside(ours, depth)] = nothing
    theirs[_is_inside(theirs, depth)] = nothing
    both = np.bincount(ours[ours == theirs], minlength=num_classes + 1)
    either = np.bincount(ours.ravel(), minlength=num_classes + 1)
    either += np.bincount(theirs.ravel(), minlength=num_classes + 1) - both
    return np.stack([both, either])[:, :num_classes].astype(np.int64)


def _is_inside(labels: NDArray[np.int64], depth: int) -> NDArray[np.bool_]:
    """Say where a square of 2 depth + 1 pixels lies in the image and holds one label alone."""
    inside = np.zeros(labels.shape, bool)
    size = 2 * depth + 1
    if min(labels.shape) < size:
        return inside
    low = high = labels
    for axis in (0, 1):
        low, high = _slide(low, size, axis, np.minimum), _slide(high, size, axis, np.maximum)
    inside[depth:-depth, depth:-depth] = low == high
    return inside


def _slide(values: NDArray[np.int64], size: int, axis: int, pick: np.ufunc) -> NDArray[np.int64]:
    """Least or largest value of each window, doubling its width as long as it fits."""
    values, width = np.moveaxis(values, axis, 0), 1
    while width < size:
        step = min(width, size - width)
        values = pick(values[:-step], values[step:])
        width += step
    return np.moveaxis(values, 0, axis)
