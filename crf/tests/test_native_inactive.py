"""Inactive classes: their marginals are tiny everywhere, so the filters leave them out."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from atrous_crf import _native

HEIGHT, WIDTH = 9, 11
POINTS = HEIGHT * WIDTH
TOLERANCE = 2e-5  # float32 sums of about ten numbers; the oracle uses float64

COMPATIBILITIES: dict[str, Callable[[int], np.ndarray]] = {
    "scalar": lambda _: f32(2.0).reshape(()),
    "merged": lambda c: f32([-2.0] * (c - 1) + [-0.5]),
}
# Widths of the positions, and of the positions and colours of the image's term. Where many points
# share a vertex, partial sums are computed first, by other code.
WIDTHS = {"narrow": (2.5, 6.0, 20.0), "wide": (25.0, 60.0, 200.0), "both": (2.5, 60.0, 200.0)}


def f32(values: object) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)


def energies(num_classes: int) -> np.ndarray:
    return f32(np.random.default_rng(1).gamma(2.0, 1.0, (num_classes, POINTS)))


def scene_features(
    xy_std: float, image_std: float, rgb_std: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions, and positions with the noisy colours of two regions."""
    positions = np.stack([axis.ravel() for axis in np.mgrid[:HEIGHT, :WIDTH]], 1)
    colours = 60 + np.random.default_rng(0).integers(0, 25, (POINTS, 3))
    colours[positions[:, 1] >= WIDTH // 2] += 90
    image = np.concatenate([positions / image_std, colours / rgb_std], 1)
    return f32(positions / xy_std), f32(image)


@pytest.mark.parametrize("compatibility", ["scalar", "merged"])
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize(
    ("num_classes", "active"),
    [
        (6, [2]),
        (9, [8]),
        (21, [0, 3, 4]),
        (21, [5, 20]),
        (40, list(range(0, 40, 2))),
        (81, [7, 80]),
    ],
)
def test_inactive_classes_are_refined_as_active_ones(
    oracle: ModuleType, num_classes: int, active: list[int], widths: str, compatibility: str
) -> None:
    xy_std, image_std, rgb_std = WIDTHS[widths]
    compat = COMPATIBILITIES[compatibility](num_classes)
    is_inactive = ~np.isin(np.arange(num_classes), active)
    unary = energies(num_classes) + 16 * is_inactive[:, None].astype(np.float32)
    unary[1] -= 11  # small, but not inactive
    field = _native.MeanField(num_classes, POINTS)
    field.set_unary(unary)
    features = scene_features(xy_std, image_std, rgb_std)
    for term in features:
        field.add_features(term, compat, 3)
    terms = [oracle.Term(term, compat, 3) for term in features]
    expected = oracle.infer(unary, terms, 4)
    is_inactive[1] = False
    assert expected[is_inactive].max() < 5e-5
    assert expected[1].max() > 2e-4
    marginals = field.infer(4)
    assert np.allclose(marginals, expected, atol=TOLERANCE)
    assert np.allclose(np.log(marginals), np.log(expected), atol=2e-3)


@pytest.mark.parametrize("num_classes", [9, 13, 100])
@pytest.mark.parametrize(
    ("strength", "normalization"),
    [(26.0, 2), (20.0, 2), (1.3, 0)],  # narrow and wide exponents; partial sums
)
def test_inactive_classes_become_active_again(
    oracle: ModuleType, num_classes: int, strength: float, normalization: int
) -> None:
    """Neighbours favour class 0, so that 2 to 7 become inactive at a point; then they favour 1."""
    features = f32(np.repeat([0, 1.5, 3], [1, 60, 300]))[:, None]
    unary = f32(np.full((num_classes, 361), 20) + np.arange(num_classes)[:, None] / 100)
    unary[:8, 0] = 0, 60, 1, 1, 1, 1, 1, 1
    unary[:2, 1:61] = [[0], [0.2]]
    unary[1, 61:] = 0
    field = _native.MeanField(num_classes, 361)
    field.set_unary(unary)
    field.add_features(features, f32(strength).reshape(()), normalization)
    terms = [oracle.Term(features, strength, normalization)]
    course = [oracle.infer(unary, terms, iterations) for iterations in range(6)]
    assert course[0][2, 0] > 0.1
    assert course[1][2:].max() < 2.5e-5
    assert course[2][2, 0] > 0.05
    for iterations, expected in enumerate(course):
        assert np.allclose(field.infer(iterations), expected, atol=TOLERANCE)


def test_many_inactive_classes_keep_their_total_weight(oracle: ModuleType) -> None:
    unary = f32(9.6 + 0.1 * energies(1000).clip(0, 3))
    unary[0] = 2.4  # as probable as all others together
    features = scene_features(6, 6, 6)[0]
    field = _native.MeanField(1000, POINTS)
    field.set_unary(unary)
    field.add_features(features, f32(9.5).reshape(()), 3)
    expected = oracle.infer(unary, [oracle.Term(features, 9.5)], 2)
    marginals = field.infer(2)
    assert np.allclose(marginals, expected, atol=TOLERANCE)
    assert np.allclose(marginals.sum(0), 1, atol=2e-6)
