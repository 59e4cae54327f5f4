"""The compiled filter against the oracle."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from atrous_crf import _native

TOLERANCE = 2e-5  # float32 sums of about ten numbers; the oracle uses float64


def f32(values: object) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5, 6, 7])
def test_filter_equals_the_oracle(oracle: ModuleType, dimensions: int, ring: bool) -> None:
    points = 12 if ring and dimensions > 4 else 60  # a ring in many dimensions has many vertices
    rng = np.random.default_rng(dimensions)
    features = f32(rng.normal(0, 1.5, (points, dimensions)))
    values = f32(rng.random((points, 5)))
    expected = oracle.Lattice(features, ring=ring).filter(values)
    filtered = _native.filter(features, values, ring=ring)
    assert filtered.shape == values.shape
    assert np.allclose(filtered, expected, atol=TOLERANCE)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 16, 20, 21, 32, 33, 47, 70])
def test_filter_of_any_number_of_channels(oracle: ModuleType, channels: int) -> None:
    rng = np.random.default_rng(channels)
    features, values = f32(rng.normal(0, 1, (25, 3))), f32(rng.random((25, channels)))
    expected = oracle.Lattice(features).filter(values)
    assert np.allclose(_native.filter(features, values), expected, atol=TOLERANCE)


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_filter_breaks_ties_as_the_oracle_does(oracle: ModuleType, dimensions: int) -> None:
    # Equal coordinates make equal differences, and the origin lies on a vertex.
    rng = np.random.default_rng(0)
    features = f32(rng.integers(-2, 3, (40, dimensions)))
    features[:10] = 0
    features[10:20] = features[10:20, :1]
    values = f32(rng.random((40, 3)))
    expected = oracle.Lattice(features).filter(values)
    assert np.allclose(_native.filter(features, values), expected, atol=TOLERANCE)


# The vertices of a plane are sorted in one of three ways, depending on their number.
@pytest.mark.parametrize("thickness", [0.01, 1.0])
@pytest.mark.parametrize("points", [20, 150, 600, 2500])
def test_filter_of_small_and_large_planes(
    oracle: ModuleType, points: int, thickness: float
) -> None:
    features = f32(np.random.default_rng(0).uniform(-30, 30, (points, 3)))
    features[:, 2] *= thickness
    values = f32(np.random.default_rng(1).random((points, 5)))
    expected = oracle.Lattice(features).filter(values)
    assert np.allclose(_native.filter(features, values), expected, atol=TOLERANCE)


def test_filter_where_keys_exceed_64_bits(oracle: ModuleType) -> None:
    rng = np.random.default_rng(0)
    features = f32(np.repeat(rng.normal(0, 900, (20, 9)), 2, axis=0))
    values = f32(rng.random((40, 3)))
    expected = oracle.Lattice(features).filter(values)
    # float32 resolves positions this far from the origin to 1e-5 of a cell
    assert np.allclose(_native.filter(features, values), expected, atol=1e-3)


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (9, 14)])
@pytest.mark.parametrize("std", [0.2, 0.6, 1.0, 3.0, 50.0])
def test_positions_on_a_grid_with_and_without_holes(
    oracle: ModuleType, std: float, shape: tuple[int, int], ring: bool
) -> None:
    # Below about 0.7 the lattice is finer than the grid, so that some vertices touch no pixel.
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    features = f32(np.stack([x.ravel() / np.float32(std), y.ravel() / np.float32(2 * std)], 1))
    values = f32(np.random.default_rng(0).random((len(features), 3)))
    expected = oracle.Lattice(features, ring=ring).filter(values)
    assert np.allclose(_native.filter(features, values, ring=ring), expected, atol=TOLERANCE)


def test_filter_of_one_point() -> None:
    value = _native.filter(f32([[0.3, 0.1]]), f32([[2.0]]))
    assert value.shape == (1, 1)
    assert 0 < value[0, 0] < 4
