"""Where the search looks."""

from __future__ import annotations

from atrous.crf import CRFParams
from atrous.tune_crf import PAPER, Grid


def test_the_papers_grid_has_its_128_points() -> None:
    points = PAPER.coarse()
    assert len(points) == len(set(points)) == 4 * 8 * 4
    assert (3, 30, 3) in points
    assert (6, 100, 6) in points
    assert PAPER.params((5, 49, 3)) == CRFParams(
        iterations=10,
        spatial_weight=3,
        spatial_xy_std=1,
        bilateral_weight=5,
        bilateral_xy_std=49,
        bilateral_rgb_std=3,
    )


def test_each_refinement_halves_the_steps_around_the_best() -> None:
    around = PAPER.around((4, 50, 3), 1)
    assert len(around) == 27
    assert {w for w, _, _ in around} == {3.5, 4, 4.5}
    assert {xy for _, xy, _ in around} == {45, 50, 55}
    assert {xy for _, xy, _ in PAPER.around((4, 50, 3), 2)} == {47.5, 50, 52.5}


def test_axes_of_one_value_stay_and_values_stay_positive() -> None:
    grid = Grid(weights=(1, 4), xy_stds=(20,), rgb_stds=(3, 4))
    around = grid.around((1.0, 20, 3), 1)
    assert {xy for _, xy, _ in around} == {20}
    assert {w for w, _, _ in around} == {1, 2.5}, "1 - 1.5 is no weight"
