"""Bilinear resizing and the fusion of scales, one pixel after the other, in float64."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def resize(
    maps: Array,
    size_hw: tuple[int, int],
    *,
    align_corners: bool,
    steps_hw: tuple[float, float] | None = None,
) -> Array:
    """Resize (N, C, h, w) to `size_hw`; `steps_hw` overrides the source pixels per result pixel."""
    result = np.empty((*maps.shape[:2], *size_hw))
    places = [
        [
            _place(i, source, target, align_corners, steps_hw[axis] if steps_hw else None)
            for i in range(target)
        ]
        for axis, (source, target) in enumerate(zip(maps.shape[2:], size_hw, strict=True))
    ]
    for i, (top, bottom, down) in enumerate(places[0]):
        for j, (left, right, along) in enumerate(places[1]):
            upper = maps[:, :, top, left] * (1 - along) + maps[:, :, top, right] * along
            lower = maps[:, :, bottom, left] * (1 - along) + maps[:, :, bottom, right] * along
            result[:, :, i, j] = upper * (1 - down) + lower * down
    return result


def fuse(maps: list[Array], *, align_corners: bool) -> Array:
    """Take the maximum of all maps at the size of the first."""
    height, width = maps[0].shape[2:]
    return np.max([resize(m, (height, width), align_corners=align_corners) for m in maps], axis=0)


def _place(
    index: int, source: int, target: int, align_corners: bool, step: float | None
) -> tuple[int, int, float]:
    """Give the two neighbours of a result pixel in the source, and the second one's weight."""
    if align_corners:
        position = index * (source - 1) / (target - 1) if target > 1 else 0.0
    else:
        position = max(0.0, (index + 0.5) * (step or source / target) - 0.5)
    first = min(math.floor(position), source - 1)
    return first, min(first + 1, source - 1), position - first
