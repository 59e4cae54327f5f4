"""`DenseCRF`: results, inputs, errors, pruning, threads, many images."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atrous_crf import CRFParams, DenseCRF
from atrous_crf.pydensecrf import densecrf as dcrf
from atrous_crf.pydensecrf import utils

GOLDEN = Path(__file__).parent / "golden/pydensecrf_options.npz"
HEIGHT, WIDTH = 24, 31
MILD = CRFParams(3, 3, 3, 5, 20, 13)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(0))
    return (exponentials / exponentials.sum(0)).astype(np.float32)


def scene(classes: int = 5, live: int | None = None, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return blocky probabilities, classes from `live` on below 1e-3, and a crop of an image."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(classes, HEIGHT // 4, WIDTH // 4 + 1))
    if live is not None:
        logits[:live] = np.maximum(logits[:live], logits[:live].max(0) - 3)
        logits[live:] = logits[:live].max(0) - 9 + np.clip(logits[live:] / 4, -1, 1)
    probabilities = softmax(logits).repeat(4, axis=1).repeat(4, axis=2)[:, :HEIGHT, :WIDTH]
    with np.load(GOLDEN) as file:
        image = file["img"][10 : 10 + HEIGHT, 20 : 20 + WIDTH]
    return probabilities, image


def test_refine_is_the_drop_in_with_its_definition() -> None:
    probabilities, image = scene()
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 5)
    crf.setUnaryEnergy(utils.unary_from_softmax(probabilities))
    crf.addPairwiseGaussian(MILD.spatial_xy_std, MILD.spatial_weight)
    crf.addPairwiseBilateral(
        MILD.bilateral_xy_std, MILD.bilateral_rgb_std, image, MILD.bilateral_weight
    )
    expected = np.array(crf.inference(MILD.iterations)).reshape(probabilities.shape)
    refined = DenseCRF(MILD).refine(probabilities, image)
    assert refined.dtype == np.float32
    np.testing.assert_allclose(refined, expected, atol=1e-5)
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-5)
    assert np.abs(refined - probabilities).max() > 0.1


def test_any_number_of_threads_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = DenseCRF(MILD).refine(*scene())
    monkeypatch.setenv("OMP_NUM_THREADS", "5000")
    assert np.array_equal(DenseCRF(MILD).refine(*scene()), expected)


def test_defaults_are_the_papers() -> None:
    assert CRFParams() == CRFParams(10, 3, 1, 4, 67, 3)
    assert CRFParams(iterations=4.0).iterations == 4  # type: ignore[arg-type]
    crf = DenseCRF()
    assert (crf.params, crf.accuracy, crf.prune_below, crf.threads) == (
        CRFParams(), "lattice", 0.0, None,
    )  # fmt: skip
    assert "CRFParams(iterations=10" in repr(crf)


def test_any_float_in_any_memory_order() -> None:
    probabilities, image = scene()
    expected = DenseCRF(MILD).refine(probabilities, image)
    frozen, photo = probabilities.copy(), np.asfortranarray(image)
    frozen.flags.writeable = photo.flags.writeable = False
    for variant in (
        frozen,
        np.asfortranarray(probabilities),
        probabilities.repeat(2, axis=2)[:, :, ::2],
        probabilities.astype(np.float64),
        np.moveaxis(np.ascontiguousarray(np.moveaxis(probabilities, 0, 2)), 2, 0),
    ):
        np.testing.assert_array_equal(DenseCRF(MILD).refine(variant, photo), expected)
    half = DenseCRF(MILD).refine(probabilities.astype(np.float16), image)
    np.testing.assert_allclose(half, expected, atol=0.02)


def test_inputs_are_not_changed() -> None:
    probabilities, image = scene(9, 3)
    before = probabilities.copy(), image.copy()
    DenseCRF(MILD, prune_below=1e-3).refine(probabilities, image)
    np.testing.assert_array_equal(probabilities, before[0])
    np.testing.assert_array_equal(image, before[1])


def test_no_iterations_return_the_clipped_input() -> None:
    probabilities, image = scene()
    clipped = np.clip(probabilities, 1e-5, 1)
    refined = DenseCRF(CRFParams(iterations=0)).refine(probabilities, image)
    np.testing.assert_allclose(refined, clipped / clipped.sum(0), atol=1e-6)


def test_weights_of_zero_return_the_input() -> None:
    probabilities, image = scene()
    params = CRFParams(spatial_weight=0, bilateral_weight=0)
    clipped = np.clip(probabilities, 1e-5, 1)
    refined = DenseCRF(params).refine(probabilities, image)
    np.testing.assert_allclose(refined, clipped / clipped.sum(0), atol=1e-6)


def test_uniform_image_with_uniform_probabilities_stays() -> None:
    image = np.full((8, 9, 3), 77, np.uint8)
    refined = DenseCRF().refine(np.full((4, 8, 9), 0.25), image)
    np.testing.assert_allclose(refined, 0.25, atol=1e-5)


def test_permuted_classes_permute_the_result() -> None:
    probabilities, image = scene()
    order = [3, 0, 4, 1, 2]
    one = DenseCRF(MILD).refine(probabilities, image)
    other = DenseCRF(MILD).refine(probabilities[order], image)
    np.testing.assert_allclose(other, one[order], atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1)])
def test_small_images(size: tuple[int, int]) -> None:
    probabilities = softmax(np.random.default_rng(1).normal(size=(3, *size)))
    refined = DenseCRF().refine(probabilities, np.zeros((*size, 3), np.uint8))
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-5)


def test_one_class_gives_ones_and_many_classes_work() -> None:
    image = scene()[1]
    assert (DenseCRF().refine(np.zeros((1, HEIGHT, WIDTH)), image) == 1).all()
    probabilities = scene(300)[0]
    refined = DenseCRF(CRFParams(iterations=1)).refine(probabilities, image)
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-4)


@pytest.mark.parametrize("params", [CRFParams(), CRFParams(5, 3, 3, 10, 80, 13)])
def test_inactive_classes_equal_active_ones(params: CRFParams) -> None:
    """`stepInference` filters every class in every iteration."""
    with np.load(GOLDEN) as file:
        image = np.tile(file["img"], (2, 2, 1))  # several ranges of points
    height, width = image.shape[:2]
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(21, height // 10, width // 10)).repeat(10, axis=1).repeat(10, axis=2)
    logits[4:] -= 12
    probabilities = softmax(2 * logits)
    crf = dcrf.DenseCRF2D(width, height, 21)
    crf.setUnaryEnergy(utils.unary_from_softmax(probabilities))
    crf.addPairwiseGaussian(params.spatial_xy_std, params.spatial_weight)
    crf.addPairwiseBilateral(
        params.bilateral_xy_std, params.bilateral_rgb_std, image, params.bilateral_weight
    )
    q, one, other = crf.startInference()
    for _ in range(params.iterations):
        crf.stepInference(q, one, other)
    expected = np.array(q).reshape(probabilities.shape)
    refined = DenseCRF(params).refine(probabilities, image)
    assert expected[4:].max() < 1e-4
    np.testing.assert_array_equal(refined.argmax(0), expected.argmax(0))
    assert np.abs(refined - expected).mean() < 1e-7
    np.testing.assert_allclose(refined, expected, atol=5e-5)
    np.testing.assert_allclose(np.log(refined), np.log(expected), atol=1e-3)


@pytest.mark.parametrize(("classes", "live"), [(21, 4), (81, 6), (21, 8), (21, 16)])
@pytest.mark.parametrize(
    "params",
    [
        CRFParams(),
        CRFParams(5, 3, 3, 10, 80, 13),
        CRFParams(bilateral_weight=200),  # messages that exceed the range of exp
    ],
)
def test_pruned_equals_full(classes: int, live: int, params: CRFParams) -> None:
    probabilities, image = scene(classes, live)
    assert (probabilities.reshape(classes, -1).max(1) >= 1e-3).sum() == live
    full = DenseCRF(params).refine(probabilities, image)
    pruned = DenseCRF(params, prune_below=1e-3).refine(probabilities, image)
    assert np.abs(pruned - full).max() <= 1e-4  # the promise is 1e-3
    np.testing.assert_array_equal(pruned.argmax(0), full.argmax(0))
    np.testing.assert_allclose(pruned.sum(0), 1, atol=1e-5)


def test_merging_identical_classes_is_exact() -> None:
    """The merged channel is several classes, so its attraction is divided by their number."""
    first, image = scene(2)
    others = np.repeat(first[1:] / 4, 4, axis=0)
    probabilities = np.concatenate([first[:1], others])
    assert others.max() < 0.5 < first[0].max()
    full = DenseCRF(MILD).refine(probabilities, image)
    pruned = DenseCRF(MILD, prune_below=0.5).refine(probabilities, image)
    np.testing.assert_allclose(pruned, full, atol=1e-5)


def test_pruning_is_exact_for_equal_classes() -> None:
    probabilities, image = scene(12, 3)
    probabilities[3:] = probabilities[3:].mean(0)
    full = DenseCRF(MILD).refine(probabilities, image)
    pruned = DenseCRF(MILD, prune_below=1e-3).refine(probabilities, image)
    np.testing.assert_allclose(pruned, full, atol=1e-6)


def test_pruning_keeps_all_when_there_is_nothing_to_keep_or_merge() -> None:
    probabilities, image = scene(5, 4)
    full = DenseCRF(MILD).refine(probabilities, image)
    one_dead = DenseCRF(MILD, prune_below=1e-3).refine(probabilities, image)
    all_dead = DenseCRF(MILD, prune_below=1.0).refine(0.9 * probabilities, image)
    np.testing.assert_array_equal(one_dead, full)
    np.testing.assert_allclose(all_dead, DenseCRF(MILD).refine(0.9 * probabilities, image))


def test_threads_do_not_change_the_result() -> None:
    probabilities, image = scene(9)
    single = DenseCRF(MILD, threads=1).refine(probabilities, image)
    np.testing.assert_array_equal(DenseCRF(MILD, threads=3).refine(probabilities, image), single)


def test_threads_can_share_an_object() -> None:
    crf = DenseCRF(MILD, prune_below=1e-3)
    scenes = [scene(6, 3, seed) for seed in range(4)]
    expected = [crf.refine(*pair) for pair in scenes]
    with ThreadPoolExecutor(8) as pool:
        refined = list(pool.map(lambda i: crf.refine(*scenes[i % 4]), range(24)))
    for i, result in enumerate(refined):
        np.testing.assert_array_equal(result, expected[i % 4])


@pytest.mark.parametrize("threads", [1, 3])
def test_refine_many_keeps_the_order(threads: int) -> None:
    scenes = [scene(4, seed=seed) for seed in range(7)]
    crf = DenseCRF(MILD, threads=threads)
    refined = list(crf.refine_many(scenes))
    assert len(refined) == 7
    for result, pair in zip(refined, scenes, strict=True):
        np.testing.assert_array_equal(result, crf.refine(*pair))
    assert not list(crf.refine_many([]))
    np.testing.assert_array_equal(next(crf.refine_many(scenes[:1])), refined[0])


@pytest.mark.parametrize("threads", [1, 2])
def test_refine_many_reads_no_further_than_its_threads(threads: int) -> None:
    read = 0

    def pairs() -> Iterator[Any]:
        nonlocal read
        for seed in range(20):
            read += 1
            yield scene(3, seed=seed)

    before = threading.active_count()
    refined = DenseCRF(MILD, threads=threads).refine_many(pairs())
    for done in range(1, 4):
        next(refined)
        assert read <= done + threads
    refined.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2])
def test_refine_many_raises_when_the_result_is_due(threads: int) -> None:
    good = scene(3)
    refined = DenseCRF(MILD, threads=threads).refine_many([good, good, (good[0][:, 1:], good[1])])
    next(refined)
    next(refined)
    with pytest.raises(ValueError, match="image is 24x31 but probabilities are 23x31"):
        next(refined)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p[:, :-1], "image is 24x31 but probabilities are 23x31; resize"),
        (lambda p: p[0], r"probabilities are 24x31; they must be \(K, H, W\)"),
        (lambda p: p[:0], r"probabilities are 0x24x31; they must be \(K, H, W\) with at least one"),
        (lambda p: p[:, :0], "probabilities are 5x0x31"),
        (lambda p: (255 * p).astype(np.uint8), "probabilities are uint8; .* divide by 255"),
        (lambda p: p - 0.5, r"probabilities go down to -0\.\d+; .* apply the softmax first"),
        (lambda p: np.where(p > 0.9, np.nan, p), "contain NaN or infinity"),
        (lambda p: np.where(p > 0.9, np.inf, p), "contain NaN or infinity"),
        (lambda p: np.where(p > 0.9, 1e300, p.astype(float)), "contain NaN or infinity"),
        (lambda _: None, "probabilities are object"),
        (lambda _: "p", "probabilities are <U1"),
    ],
)
def test_unusable_probabilities_are_refused(change: Callable[[Any], Any], message: str) -> None:
    probabilities, image = scene()
    with pytest.raises(ValueError, match=message):
        DenseCRF().refine(change(probabilities), image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i[:, :, 0], "image is 24x31, a gray image; .* repeat the channel"),
        (lambda i: i[:, :, :1], "image is 24x31x1, a gray image"),
        (lambda i: np.dstack([i, i[:, :, 0]]), "image is 24x31x4; .* Drop an alpha channel"),
        (lambda i: i[None], "image is 1x24x31x3; it must be"),
        (lambda i: i / 255, "image is float64; it must be uint8 RGB from 0 to 255"),
        (lambda _: None, "image is a single number; it must be"),
    ],
)
def test_other_images_are_refused(change: Callable[[Any], Any], message: str) -> None:
    probabilities, image = scene()
    with pytest.raises(ValueError, match=message):
        DenseCRF().refine(probabilities, change(image))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iterations": -1}, "iterations is -1; it must be 0 or more"),
        ({"iterations": 2.5}, r"iterations is 2\.5; it must be a whole number"),
        ({"iterations": 2**31}, "must be a whole number below"),
        ({"spatial_weight": -1}, "spatial_weight is -1; it must be 0 or more"),
        ({"bilateral_weight": 1e21}, "bilateral_weight is 1e[+]21; it must be at most"),
        ({"spatial_xy_std": 0}, "spatial_xy_std is 0; the width of a kernel must be positive"),
        ({"bilateral_xy_std": -3}, "bilateral_xy_std is -3; the width of a kernel"),
        ({"bilateral_rgb_std": 1e-40}, "bilateral_rgb_std is 1e-40; the width of a kernel"),
        ({"bilateral_rgb_std": float("nan")}, "bilateral_rgb_std is nan; it must be a finite"),
        ({"spatial_weight": "3"}, "spatial_weight is '3'; it must be a finite number"),
        ({"spatial_weight": None}, "spatial_weight is None; it must be a finite number"),
    ],
)
def test_impossible_parameters_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CRFParams(**values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"params": 3}, "params is 3; it must be a CRFParams"),
        ({"accuracy": "best"}, "accuracy is 'best'; it must be 'lattice' or 'high'"),
        ({"prune_below": -0.1}, r"prune_below is -0\.1; it is a probability"),
        ({"prune_below": float("nan")}, "prune_below is nan"),
        ({"prune_below": None}, "prune_below is None; it is a probability"),
        ({"prune_below": "x"}, "prune_below is 'x'; it is a probability"),
        ({"threads": 0}, "threads is 0; it must be None or a whole number from 1"),
        ({"threads": 1.5}, r"threads is 1\.5"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DenseCRF(**options)


def test_width_too_small_for_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="spatial_xy_std is 1e-06, too small for values up to 30"):
        DenseCRF(CRFParams(spatial_xy_std=1e-6)).refine(*scene())
