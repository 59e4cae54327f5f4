"""The compiled kernel: its results against the oracle, its caches, and its errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from atrous_crf import InputError, _native

TESTS = Path(__file__).parent
HEIGHT, WIDTH = 9, 11
POINTS = HEIGHT * WIDTH
# float32 sums of about ten numbers; the oracle uses float64
TOLERANCE = 2e-5


def f32(values: object) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)


def photo(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Return an image with two regions of noisy color."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 60) + rng.integers(0, 25, (height, width, 3))
    image[:, width // 2 :] += 90
    return image.astype(np.uint8)


def energies(num_classes: int, points: int = POINTS, seed: int = 1) -> np.ndarray:
    return f32(np.random.default_rng(seed).gamma(2.0, 1.0, (num_classes, points)))


def grid_features(x_std: float, y_std: float) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return np.stack([x.ravel() / np.float32(x_std), y.ravel() / np.float32(y_std)], 1)


def image_features(image: np.ndarray, std: float, stds: list[float]) -> np.ndarray:
    colors = image.reshape(POINTS, -1).astype(np.float32) / f32(stds)
    return np.concatenate([grid_features(std, std), colors], 1)


def on_grid(num_classes: int, **options: object) -> _native.MeanField:
    return _native.MeanField(num_classes, POINTS, height=HEIGHT, width=WIDTH, **options)  # type: ignore[arg-type]


# ---- the mean field ----


COMPATIBILITIES: dict[str, Callable[[int], np.ndarray]] = {
    "scalar": lambda _: f32(2.0).reshape(()),
    "repulsive": lambda _: f32(-1.0).reshape(()),
    "merged": lambda c: f32([-2.0] * (c - 1) + [-0.5]),
    "vector": lambda c: f32(np.linspace(-2, 1, c)),
    "matrix": lambda c: f32(np.random.default_rng(5).normal(0, 1, (c, c))),
}


# Where many points share a vertex, partial sums are computed first, by other code.
WIDTHS = {
    "narrow": ((2.0, 3.0), 6.0, [20, 15, 30]),
    "wide": ((20.0, 30.0), 60.0, [200, 150, 300]),
    "both": ((2.0, 3.0), 60.0, [200, 150, 300]),
}


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("compatibility", COMPATIBILITIES)
@pytest.mark.parametrize("normalization", [0, 1, 2, 3])
@pytest.mark.parametrize("num_classes", [2, 3, 6])
def test_inference_equals_the_oracle(
    oracle: ModuleType, num_classes: int, normalization: int, compatibility: str, widths: str
) -> None:
    (x_std, y_std), std, stds = WIDTHS[widths]
    compat = COMPATIBILITIES[compatibility](num_classes) * (0.1 if normalization == 0 else 1)
    compat = f32(compat).reshape(compat.shape)
    image, unary = photo(), energies(num_classes)
    field = on_grid(num_classes)
    field.set_unary(unary)
    field.add_positions(x_std, y_std, compat, normalization)
    field.add_image(image, std, std, f32(stds), compat, normalization)
    assert (12 * field.vertices[1] < 6 * POINTS) == (widths != "narrow")
    terms = [
        oracle.Term(grid_features(x_std, y_std), compat, normalization),
        oracle.Term(image_features(image, std, stds), compat, normalization),
    ]
    expected = oracle.infer(unary, terms, 3)
    marginals = field.infer(3)
    assert marginals.shape == (num_classes, POINTS)
    assert np.allclose(marginals, expected, atol=TOLERANCE)
    assert field.kl_divergence(marginals) == pytest.approx(
        oracle.divergence(unary, terms, expected), rel=1e-4, abs=1e-3
    )


@pytest.mark.parametrize("spread", [2.0, 0.3])  # the second one shares vertices
@pytest.mark.parametrize("num_classes", [1, 2, 3, 5, 9, 21, 33, 34, 81])
def test_any_number_of_classes_and_steps(
    oracle: ModuleType, num_classes: int, spread: float
) -> None:
    unary = energies(num_classes)
    features = f32(np.random.default_rng(3).normal(0, spread, (POINTS, 3)))
    field = _native.MeanField(num_classes, POINTS)
    field.set_unary(unary)
    field.add_features(features, f32(3.0).reshape(()), 3)
    terms = [oracle.Term(features, 3.0)]
    assert np.allclose(field.infer(4), oracle.infer(unary, terms, 4), atol=TOLERANCE)
    q = field.start()
    for _ in range(4):
        field.step(q)
    assert np.allclose(q, oracle.infer(unary, terms, 4), atol=TOLERANCE)


def test_steps_from_marginals_that_do_not_sum_to_one(oracle: ModuleType) -> None:
    unary = energies(4)
    field = on_grid(4)
    field.set_unary(unary)
    field.add_positions(2, 2, f32(3.0).reshape(()), 3)
    q = field.start()
    q[:] = np.random.default_rng(0).random(q.shape)
    expected = oracle.step(unary, [oracle.Term(grid_features(2, 2), 3.0)], q.astype(float))
    field.step(q)
    assert np.allclose(q, expected, atol=TOLERANCE)


def test_large_weights_do_not_overflow(oracle: ModuleType) -> None:
    unary = energies(3) * 50
    field = on_grid(3)
    field.set_unary(unary)
    field.add_positions(2, 2, f32(300.0).reshape(()), 3)
    expected = oracle.infer(unary, [oracle.Term(grid_features(2, 2), 300.0)], 2)
    # exponents of hundreds have the rounding error of float32
    assert np.allclose(field.infer(2), expected, atol=1e-3)


@pytest.mark.parametrize("num_classes", [3, 4, 5])
@pytest.mark.parametrize("strength", [-50.0, -78.0, -3e3, -1e5])
@pytest.mark.parametrize("is_matrix", [False, True])
def test_strong_repulsion_leaves_probabilities(
    oracle: ModuleType, num_classes: int, strength: float, is_matrix: bool
) -> None:
    """The exponents are far below those of padding channels."""
    unary = energies(num_classes)
    compat = f32(-strength * np.eye(num_classes)) if is_matrix else f32(strength).reshape(())
    field = on_grid(num_classes)
    field.set_unary(unary)
    field.add_positions(4, 4, compat, 3)
    expected = oracle.infer(unary, [oracle.Term(grid_features(4, 4), compat)], 1)
    q = field.infer(1)
    assert np.allclose(q.sum(0), 1, atol=1e-5)
    # float32 resolves exponents of thousands to a few digits
    assert np.allclose(q, expected, atol=max(TOLERANCE, 3e-6 * abs(strength)))


def test_cached_lattices_belong_to_their_size() -> None:
    compat = f32(3.0).reshape(())
    sizes = [(9, 11), (11, 9), (9, 11), (3, 33)]
    cases = [
        (size, std, normalization, ring)
        for size in sizes
        for normalization in (0, 1, 3)
        for ring in (False, True)
        for std in [
            (2.0, 2.0),
            (2.0, 3.0),
            (3.0, 3.0),
        ]  # last: few lattices are cached
    ]
    cases += [(size, (4.0, 4.0), 3, False) for size in sizes]

    def infer(size: tuple[int, int], std: tuple[float, float], norm: int, ring: bool) -> np.ndarray:
        field = _native.MeanField(3, POINTS, height=size[0], width=size[1], ring=ring)
        field.set_unary(energies(3))
        field.add_positions(*std, compat, norm)
        return field.infer(3)

    fresh = []
    for case in cases:
        _native.release_memory()
        fresh.append(infer(*case))
    assert len({q.tobytes() for q in fresh}) == len(cases) // 4 * 3  # one size twice
    for case, expected in zip(cases, fresh, strict=True):
        infer(*case)  # leaves its lattice, which the next one takes
        assert np.array_equal(infer(*case), expected)


def test_float_and_byte_images_are_the_same() -> None:
    results = []
    for image in (photo(), f32(photo())):
        field = on_grid(3)
        field.set_unary(energies(3))
        field.add_image(image, 5, 5, f32([10, 10, 10]), f32(3.0).reshape(()), 3)
        results.append(field.infer(2))
    assert np.array_equal(*results)


def test_without_unary_starts_uniform_and_at_zero() -> None:
    field = on_grid(4)
    field.add_positions(2, 2, f32(3.0).reshape(()), 3)
    assert np.allclose(field.infer(2), 0.25)
    assert not field.start().any()
    field.set_unary(energies(4))
    assert np.allclose(field.start().sum(axis=0), 1)
    field.clear_unary()
    assert np.allclose(field.infer(0), 0.25)


def test_energies_from_probabilities() -> None:
    probabilities = f32(np.random.default_rng(0).dirichlet([0.05] * 6, POINTS).T)
    one, other = on_grid(6), on_grid(6)
    one.set_probabilities(probabilities)
    other.set_unary(f32(-np.log(np.clip(probabilities, 1e-5, 1))))
    assert np.allclose(one.infer(0), other.infer(0), atol=1e-6)


def test_merged_classes_and_their_expansion() -> None:
    probabilities = f32(np.random.default_rng(0).dirichlet([1] * 6, POINTS).T)
    live = np.array([4, 1], np.int32)
    field = on_grid(3)
    field.set_probabilities(probabilities, live)
    merged = field.infer(0)
    assert np.allclose(merged[:2], probabilities[live], atol=1e-5)
    assert np.allclose(_native.expand(merged, probabilities, live), probabilities, atol=1e-5)


def test_ranges_of_rows() -> None:
    rows = f32(np.random.default_rng(2).normal(0, 1, (5, 37)))
    assert np.array_equal(_native.ranges(rows), [rows.min(1), rows.max(1)])
    rows[1, 0], rows[2, 36], rows[4, 5] = np.nan, np.inf, -np.inf
    expected = np.isin(np.arange(5), [1, 2, 4])
    assert np.array_equal(np.isnan(_native.ranges(rows, threads=3)), [expected, expected])


def test_ring_is_nearer_to_the_exact_mean_field() -> None:
    with np.load(TESTS / "golden/pydensecrf_refine.npz") as golden:
        image = golden["img"]
    height, width = image.shape[:2]
    errors = []
    y, x = np.mgrid[:height, :width]
    features = np.concatenate(
        [np.stack([x, y], -1).reshape(-1, 2) / 80, image.reshape(-1, 3) / 13], 1
    )
    values = (image.reshape(-1, 3) > 128).astype(float)
    square = (features**2).sum(1)
    exact = np.exp(-0.5 * (square[:, None] + square - 2 * features @ features.T))
    expected = exact @ values / exact.sum(1, keepdims=True)
    for ring in (False, True):
        filtered = _native.filter(
            f32(features), f32(np.c_[values, np.ones(len(values))]), ring=ring
        )
        errors.append(np.abs(filtered[:, :3] / filtered[:, 3:] - expected).mean())
    assert errors[1] < 0.8 * errors[0]


def test_arguments_may_change_after_the_call() -> None:
    unary, image = energies(3), photo()
    results = []
    for change in (False, True):
        field = on_grid(3)
        field.set_unary(unary)
        field.add_image(image, 5, 5, f32([10, 10, 10]), f32(3.0).reshape(()), 3)
        if change:
            unary[:] = 0
            image[:] = 0
        results.append(field.infer(2))
    assert np.array_equal(*results)


# ---- arguments: callers check them, but wrong ones must not crash ----


def potts(weight: float = 3.0) -> np.ndarray:
    return f32(weight).reshape(())


def test_sizes_are_checked() -> None:
    with pytest.raises(InputError, match="num_classes"):
        _native.MeanField(0, 5)
    with pytest.raises(ValueError, match="point"):
        _native.MeanField(2, 0)
    with pytest.raises(ValueError, match="num_points must not be negative"):
        _native.MeanField(2, -5)
    with pytest.raises(ValueError, match="height"):
        _native.MeanField(2, 6, height=2, width=2)
    field = on_grid(3)
    with pytest.raises(ValueError, match="shape"):
        field.set_unary(energies(4))
    with pytest.raises(ValueError, match="compatibility"):
        field.add_positions(1, 1, f32([1, 2]), 3)
    with pytest.raises(ValueError, match="normalization"):
        field.add_positions(1, 1, potts(), 4)
    with pytest.raises(ValueError, match="height and width"):
        field.add_image(photo(5, 5), 1, 1, f32([1, 1, 1]), potts(), 3)
    with pytest.raises(ValueError, match="one row per point"):
        field.add_features(f32([[1.0]]), potts(), 3)
    with pytest.raises(ValueError, match="start"):
        field.step(f32(np.zeros((3, POINTS))))
    with pytest.raises(ValueError, match="needs height and width"):
        _native.MeanField(2, 6).add_positions(1, 1, potts(), 3)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_energies_must_be_numbers(value: float) -> None:
    unary = energies(3)
    unary[1, 50] = value
    with pytest.raises(ValueError, match="unary energies"):
        on_grid(3).set_unary(unary)


def test_infinite_energy_excludes_a_class() -> None:
    unary = energies(3)
    unary[1] = np.inf
    unary[2, ::2] = np.inf
    field = on_grid(3)
    field.set_unary(unary)
    field.add_positions(2, 2, potts(), 3)
    marginals = field.infer(5)
    assert np.isfinite(marginals).all()
    assert marginals[1].max() < 1e-30
    assert np.isfinite(field.kl_divergence(marginals))
    unary[:, 7] = np.inf
    with pytest.raises(ValueError, match="each point needs a finite one"):
        field.set_unary(unary)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_features_must_lie_within_reach(value: float) -> None:
    features = np.zeros((POINTS, 3), np.float32)
    features[5, 1] = value
    field = on_grid(3)
    field.add_features(features, potts(), 3)
    with pytest.raises(ValueError, match=r"features (must be finite|reach)"):
        field.infer(1)


@pytest.mark.parametrize("width", [0.0, 1e-8, np.nan])
def test_widths_must_separate_positions(width: float) -> None:
    field = on_grid(3)
    field.add_positions(width, 1, potts(), 3)
    with pytest.raises(ValueError, match=r"features (must be finite|reach)"):
        field.infer(1)


def test_sizes_beyond_memory_raise() -> None:
    field = _native.MeanField(1 << 20, (1 << 31) - 1)
    with pytest.raises(MemoryError):
        field.infer(1)
