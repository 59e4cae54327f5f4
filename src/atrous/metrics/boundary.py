"""Metrics near object boundaries: IoU in trimap bands, and boundary IoU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .confusion import Counts, confusion_matrix

# Band widths of Figure 10 of the paper, in pixels to each side of a boundary.
TRIMAP_BANDS_PX = (1, 2, 3, 4, 5, 7, 10, 15, 20, 25, 30, 35, 40)
# Depth of a boundary, as a share of the image diagonal (Cheng et al. 2021).
BOUNDARY_SHARE = 0.02


def distance_to_boundary(labels: NDArray[Any], *, farthest_px: int) -> NDArray[np.float32]:
    """Measure the distance of each pixel from the nearest boundary between labels.

    A boundary pixel has another label than one of its four neighbours. The unknown label counts as
    a label, because data sets mark boundaries with it.

    Args:
        labels: (H, W) integers.
        farthest_px: Larger distances are returned as infinity.

    Returns:
        (H, W) float32 Euclidean distances in pixels, 0 on boundary pixels.
    """
    is_boundary = np.zeros(labels.shape, bool)
    for one, other in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        differs = labels[one] != labels[other]
        is_boundary[one] |= differs
        is_boundary[other] |= differs
    far = farthest_px + 1
    rows = np.where(is_boundary, 0, far).astype(np.int32)  # distance in the same column
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

    The band of width r holds the pixels less than r from a boundary pixel; every band includes the
    boundary pixels of both sides.

    Args:
        truth: (H, W) integer labels.
        predicted: (H, W) integer labels.
        num_classes: Classes, background included.
        ignore_index: True label of pixels that are not counted.
        bands_px: Widths, in increasing order.

    Returns:
        (B, K, K) int64, one confusion matrix per band.

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
    """Count the intersections and unions of boundaries, from which boundary IoU is computed.

    The boundary of a mask is the part within d pixels of its contour or of the image's edge (the
    larger of row and column distance); d is 2 % of the image diagonal. Pixels with unknown truth
    belong to no mask.

    Args:
        truth: (H, W) integer labels.
        predicted: (H, W) integer labels.
        num_classes: Classes, background included.
        ignore_index: True label of pixels that are not counted.

    Returns:
        (2, K) int64: intersections and unions of the true and the predicted boundary.

    Source: Cheng et al. 2021, "Boundary IoU".
    """
    depth = max(1, round(BOUNDARY_SHARE * float(np.hypot(*truth.shape))))
    outside = num_classes  # label of pixels that belong to no boundary
    is_known = np.ones(truth.shape, bool) if ignore_index is None else truth != ignore_index
    true_edges = np.where(is_known, truth, outside).astype(np.int64)
    edges = np.where(is_known, predicted, outside).astype(np.int64)
    true_edges[_is_inside(true_edges, depth)] = outside
    edges[_is_inside(edges, depth)] = outside
    intersections = np.bincount(edges[edges == true_edges], minlength=num_classes + 1)
    unions = np.bincount(edges.ravel(), minlength=num_classes + 1)
    unions += np.bincount(true_edges.ravel(), minlength=num_classes + 1) - intersections
    return np.stack([intersections, unions])[:, :num_classes].astype(np.int64)


def _is_inside(labels: NDArray[np.int64], depth: int) -> NDArray[np.bool_]:
    """Whether the square of 2 depth + 1 pixels around a pixel is in the image and of one label."""
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
    """Minimum or maximum of each window of `size`, by doubling the width step by step."""
    values, width = np.moveaxis(values, axis, 0), 1
    while width < size:
        step = min(width, size - width)
        values = pick(values[:-step], values[step:])
        width += step
    return np.moveaxis(values, 0, axis)
