"""The grid of CRF parameters that the search covers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from ..crf import CRFParams

Point = tuple[float, float, float]
"""Bilateral weight, width in pixels, width in grey levels."""


@dataclass(frozen=True)
class Grid:
    """The grid of CRF parameters; the defaults are the paper's for ResNet-101.

    Attributes:
        weights: Bilateral weights (w1 of the paper's Eq. 3).
        xy_stds: Bilateral widths in pixels (sigma alpha).
        rgb_stds: Bilateral widths in grey levels (sigma beta).
        refinements: How many times the steps are halved around the best point.
        spatial_weight: Weight of the position kernel (w2); not searched.
        spatial_xy_std: Width of the position kernel in pixels (sigma gamma); not searched.
        iterations: Mean-field iterations; not searched.
    """

    weights: tuple[float, ...] = (3, 4, 5, 6)
    xy_stds: tuple[float, ...] = (30, 40, 50, 60, 70, 80, 90, 100)
    rgb_stds: tuple[float, ...] = (3, 4, 5, 6)
    refinements: int = 2
    spatial_weight: float = 3
    spatial_xy_std: float = 1
    iterations: int = 10

    @property
    def axes(self) -> tuple[tuple[float, ...], ...]:
        """The values along each axis, in the order of `Point`."""
        return self.weights, self.xy_stds, self.rgb_stds

    def coarse(self) -> list[Point]:
        """List every point of the grid."""
        return [(w, xy, rgb) for w, xy, rgb in product(*self.axes)]

    def around(self, best: Point, refinement: int) -> list[Point]:
        """List the best point and its neighbours, half a step away in the first refinement."""
        values: list[list[float]] = []
        for centre, axis in zip(best, self.axes, strict=True):
            step = (axis[1] - axis[0]) / 2**refinement if len(axis) > 1 else 0
            values.append(sorted({v for v in (centre - step, centre, centre + step) if v > 0}))
        return [(w, xy, rgb) for w, xy, rgb in product(*values)]

    def params(self, point: Point) -> CRFParams:
        """Return the CRF parameters of a point."""
        weight, xy_std, rgb_std = point
        return CRFParams(
            iterations=self.iterations,
            spatial_weight=self.spatial_weight,
            spatial_xy_std=self.spatial_xy_std,
            bilateral_weight=weight,
            bilateral_xy_std=xy_std,
            bilateral_rgb_std=rgb_std,
        )


PAPER = Grid()
