"""Input that crashes pydensecrf or spoils its result either works or raises a clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from atrous_crf.pydensecrf import densecrf as dcrf
from atrous_crf.pydensecrf import eigen, utils

WIDTH, HEIGHT, LABELS = 7, 5, 3
POINTS = WIDTH * HEIGHT
RNG = np.random.default_rng(3)
ENERGY = RNG.random((LABELS, POINTS), np.float32)
IMAGE = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def crf_2d() -> dcrf.DenseCRF2D:
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, LABELS)
    crf.setUnaryEnergy(ENERGY)
    return crf


def result(image: Any = IMAGE, srgb: Any = 20, energy: Any = ENERGY) -> np.ndarray:
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, LABELS)
    crf.setUnaryEnergy(energy)
    crf.addPairwiseBilateral(sxy=5, srgb=srgb, rgbim=image, compat=4)
    return np.array(crf.inference(3))


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def strided(array: np.ndarray) -> np.ndarray:
    return np.repeat(array, 2, axis=-1)[..., ::2]


@pytest.mark.parametrize(
    "energy",
    [
        np.asfortranarray(ENERGY),
        read_only(ENERGY),
        strided(ENERGY),
        ENERGY.reshape(LABELS, HEIGHT, WIDTH),
        ENERGY[:, ::-1][:, ::-1],
    ],
    ids=["fortran", "read-only", "strided", "3-D", "negative strides"],
)
def test_unaries_in_any_memory_order(energy: np.ndarray) -> None:
    np.testing.assert_array_equal(result(energy=energy), result())


def test_float16_unary_works() -> None:
    half = ENERGY.astype(np.float16)
    np.testing.assert_array_equal(result(energy=half), result(energy=half.astype(np.float32)))


@pytest.mark.parametrize(
    "image",
    [np.asfortranarray(IMAGE), read_only(IMAGE), IMAGE.astype(np.float64), IMAGE.astype(np.uint16)],
    ids=["fortran", "read-only", "float64", "uint16"],
)
def test_images_in_any_memory_order_and_dtype(image: np.ndarray) -> None:
    np.testing.assert_allclose(result(image), result(), atol=1e-6)


def test_gray_and_four_channel_images_work() -> None:
    gray, alpha = IMAGE[:, :, 0], np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    np.testing.assert_array_equal(result(gray), result(gray[:, :, None]))
    assert result(np.dstack([IMAGE, alpha]), (20, 20, 20, 9)).shape == (LABELS, POINTS)
    # values of 0..1 need a width in the same unit
    np.testing.assert_allclose(result(IMAGE / 255.0, 20 / 255), result(), atol=1e-4)


def test_infinite_energy_excludes_a_label() -> None:
    energy = ENERGY.copy()
    energy[0, :4] = np.inf
    energy[:, 5] = np.inf  # no label is possible, so all are equally likely
    q = result(energy=energy)
    assert np.isfinite(q).all()
    assert (q[0, :4] < 1e-30).all()
    np.testing.assert_allclose(q.sum(0), 1, atol=1e-5)


def test_one_pixel_and_many_labels() -> None:
    crf = dcrf.DenseCRF2D(1, 1, 300)
    crf.setUnaryEnergy(np.zeros((300, 1), np.float32))
    crf.addPairwiseGaussian(3, 3)
    crf.addPairwiseBilateral(3, 3, np.zeros((1, 1, 3), np.uint8), 3)
    np.testing.assert_allclose(np.array(crf.inference(2)), 1 / 300, rtol=1e-4)


def test_huge_widths_make_everything_one_neighbourhood() -> None:
    crf = crf_2d()
    crf.addPairwiseGaussian(1e30, 1)
    assert np.isfinite(np.array(crf.inference(3))).all()


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        (ENERGY.astype(np.float64), "u is float64; it must be a float32 array"),
        (ENERGY.astype(int), "u is int64; it must be a float32"),
        (None, "u is None; it must be a float32"),
        (ENERGY[:2], r"the unary is \(2, 35\); it must be \(labels, points\) = \(3, 35\)"),
        (ENERGY.ravel(), r"u has the shape \(105,\)"),
        (np.zeros((0, 3), np.float32), "at least one of each"),
        (ENERGY.reshape(LABELS, WIDTH, HEIGHT), "DenseCRF2D takes w first, then h"),
        (np.where(ENERGY < 0.1, np.nan, ENERGY), "u contains nan; energies must be"),
        (np.where(ENERGY < 0.1, -np.inf, ENERGY), "u contains -inf; energies must be"),
    ],
)
def test_unusable_unaries_are_refused(energy: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crf_2d().setUnaryEnergy(energy)


@pytest.mark.parametrize("unary", [None, dcrf.Unary(), 3])
def test_set_unary_needs_a_unary(unary: Any) -> None:
    with pytest.raises(ValueError, match="must be a ConstUnary or a LogisticUnary"):
        crf_2d().setUnary(unary)


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        ([[1.0]], "u.energy is float64; it must be a float32 array"),
        ("zero", "u.energy is <U4; it must be a float32 array"),
        (len, "u.energy is object; it must be a float32 array"),
        (np.zeros(3, np.float32), r"u.energy has the shape \(3,\)"),
    ],
)
def test_custom_unaries_need_an_array(energy: Any, message: str) -> None:
    class Own(dcrf.Unary):
        pass

    unary = Own()
    unary.energy = energy
    with pytest.raises(ValueError, match=message):
        crf_2d().setUnary(unary)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logistic_unary_needs_finite_numbers(value: float) -> None:
    odd, plain = np.full((3, 2), value, np.float32), np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="L contains"):
        dcrf.LogisticUnary(odd, plain)
    with pytest.raises(ValueError, match="f contains"):
        dcrf.LogisticUnary(plain, odd)


def test_unaries_check_their_sizes() -> None:
    with pytest.raises(ValueError, match=r"the unary is \(2, 4\)"):
        crf_2d().setUnary(dcrf.ConstUnary(np.zeros((2, 4), np.float32)))
    with pytest.raises(ValueError, match="u is float64"):
        dcrf.ConstUnary(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"must be \(labels, features\) and \(features, points\)"):
        dcrf.LogisticUnary(np.zeros((3, 2), np.float32), np.zeros((4, 9), np.float32))


@pytest.mark.parametrize(
    "value",
    [0, -1, np.nan, np.inf, 1e-40, (3, 0), "wide", (3,), None, pytest.param(10**400, id="huge")],
)
def test_impossible_widths_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="sxy is"):
        crf_2d().addPairwiseGaussian(sxy=value, compat=3)
    with pytest.raises(ValueError, match="srgb is"):
        crf_2d().addPairwiseBilateral(sxy=3, srgb=value, rgbim=IMAGE, compat=3)


def test_widths_under_the_lattices_resolution_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sxy is 1e-08, too small for values up to 6: .* use 6e-"):
        crf_2d().addPairwiseGaussian(sxy=1e-8, compat=3)
    with pytest.raises(ValueError, match="srgb is 1e-08, too small for values up to 255"):
        crf_2d().addPairwiseBilateral(3, 1e-8, np.full_like(IMAGE, 255), 3)


@pytest.mark.parametrize(
    ("compat", "message"),
    [
        (np.zeros(2, np.float32), r"shape \(2,\); for 3 labels it must be a number, \(3,\) or"),
        (np.zeros((3, 2), np.float32), r"shape \(3, 2\)"),
        (np.zeros((3, 3, 3), np.float32), r"shape \(3, 3, 3\)"),
        (np.zeros(0, np.float32), r"shape \(0,\)"),
        (np.zeros(3), "compat is float64; an array must be float32"),
        (np.nan, "not finite"),
        (1e30, "above 1e[+]20"),
        pytest.param(10**400, "compat is 1000*; it must be a number", id="huge"),
        ("strong", "compat is 'strong'; it must be a number"),
        (None, "not finite|must be a number"),
    ],
)
def test_unusable_compatibilities_are_refused(compat: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crf_2d().addPairwiseGaussian(3, compat)


@pytest.mark.parametrize("compat", [2.0, [2.0, 3.0, 4.0], np.float16(2), np.array(2.0)])
def test_numbers_and_lists_are_compatibilities(compat: Any) -> None:
    crf = crf_2d()
    crf.addPairwiseGaussian(3, compat)
    assert np.isfinite(np.array(crf.inference(2))).all()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((0, POINTS), np.float32), "at least one dimension"),
        (np.zeros((2, POINTS + 1), np.float32), r"it must be \(dimensions, 35\)"),
        (np.zeros((POINTS, 2), np.float32), r"it must be \(dimensions, 35\)"),
        (np.zeros(POINTS, np.float32), r"it must be \(dimensions, 35\)"),
        (np.full((2, POINTS), np.nan, np.float32), "NaN, infinite or huge"),
        (np.full((2, POINTS), 1e30, np.float32), "NaN, infinite or huge"),
        (np.full((2, POINTS), 1e9, np.float32), "too small for values up to 1e[+]09"),
        (np.full((2, POINTS), "a"), "must be an array of real numbers"),
        (np.full((2, POINTS), 1j), "must be an array of real numbers"),
    ],
)
def test_unusable_features_are_refused(features: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crf_2d().addPairwiseEnergy(features, compat=3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGE.transpose(1, 0, 2), r"with \(h, w\) = \(5, 7\) \(DenseCRF2D takes w first"),
        (IMAGE[:, :, :0], "must be"),
        (IMAGE.ravel(), "must be"),
        (np.where(IMAGE < 9, np.nan, IMAGE), "NaN, infinite or huge"),
        (None, "must be an array of real numbers"),
    ],
)
def test_unusable_images_are_refused(image: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crf_2d().addPairwiseBilateral(3, 3, image, 3)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (-1, 3), (2**40, 3), (2.5, 3)])
def test_impossible_sizes_are_refused(sizes: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="it must be"):
        dcrf.DenseCRF(*sizes)


def test_impossible_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="w is 0; it must be from 1"):
        dcrf.DenseCRF2D(0, 4, 2)
    with pytest.raises(ValueError, match="w h is"):
        dcrf.DenseCRF2D(2**20, 2**20, 2)
    with pytest.raises(TypeError):
        dcrf.DenseCRF("many", 2)  # type: ignore[arg-type]


def test_further_arguments_are_ignored_as_in_the_original() -> None:
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, LABELS, 99, "more")
    crf.setUnaryEnergy(ENERGY)
    np.testing.assert_array_equal(np.array(crf.inference(2)), np.array(crf_2d().inference(2)))
    assert np.array(dcrf.DenseCRF(POINTS, LABELS, 99).inference(0)).shape == (LABELS, POINTS)


def test_impossible_numbers_are_refused() -> None:
    crf = crf_2d()
    with pytest.raises(ValueError, match="niter is -1; it must be from 0"):
        crf.inference(-1)
    with pytest.raises(ValueError, match=r"niter is 2\.5; it must be a whole number"):
        crf.inference(2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="kernel is 7; it must be from 0 to 2"):
        crf.addPairwiseGaussian(3, 3, kernel=7)
    with pytest.raises(ValueError, match="normalization is 4; it must be from 0 to 3"):
        crf.addPairwiseGaussian(3, 3, normalization=4)
    np.testing.assert_array_equal(np.array(crf.inference(2.0)), np.array(crf.inference(2)))  # type: ignore[arg-type]


def test_steps_take_any_float32_array_of_the_size() -> None:
    crf = crf_2d()
    crf.addPairwiseGaussian(3, 3)
    q, tmp1, tmp2 = crf.startInference()
    rows = np.ascontiguousarray(q)
    crf.stepInference(q, tmp1, tmp2)
    crf.stepInference(rows, None, None)  # type: ignore[arg-type]
    np.testing.assert_array_equal(rows, np.asarray(q))
    assert crf.klDivergence(rows) == crf.klDivergence(q)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("q", "message"),
    [
        (np.zeros((2, POINTS), np.float32), "Q is float32"),
        (np.zeros((LABELS, POINTS)), "Q is float64"),
        (np.full((LABELS, POINTS), np.nan, np.float32), "start again with startInference"),
        (read_only(ENERGY), "Q is read-only"),
        (None, "Q is object"),
    ],
)
def test_steps_refuse_other_matrices(q: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crf_2d().stepInference(q, None, None)


def test_eigen_refuses_other_arrays() -> None:
    with pytest.raises(ValueError, match="matrixXf got float64; it needs float32"):
        eigen.matrixXf(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="got 3 dimensions; it needs 2"):
        eigen.matrixXf(np.zeros((2, 2, 2), np.float32))
    with pytest.raises(ValueError, match="vectorXf got 2 dimensions; it needs 1"):
        eigen.vectorXf(np.zeros((2, 2), np.float32))
    with pytest.raises(TypeError, match="matrixXf got None"):
        eigen.matrixXf(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 4], {}, "labels range from 0 to 4; with n_labels=3 .* must be 0 to 3"),
        ([0, 3], {"zero_unsure": False}, "must be 0 to 2"),
        ([-1, 1], {}, "labels range from -1 to 1"),
        ([0.0, 1.0], {}, "labels are float64; they must be integers"),
        ([1, 255], {}, "map an ignored label to 0"),
        ([1], {"gt_prob": 1.0}, "gt_prob is 1.0; it must be between 0 and 1"),
        ([1], {"gt_prob": np.nan}, "gt_prob is nan"),
        ([0], {"n_labels": 0}, "n_labels is 0; it must be at least 1"),
    ],
)
def test_unary_from_labels_checks(labels: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        utils.unary_from_labels(np.array(labels), **({"n_labels": 3, "gt_prob": 0.7} | options))


def test_unary_from_labels_of_one_class_and_small_integers() -> None:
    assert np.isfinite(utils.unary_from_labels(np.array([0, 1], np.uint8), 1, 0.7)).all()
    small = utils.unary_from_labels(np.array([0, 1, 2], np.uint8), 2, 0.7)
    np.testing.assert_array_equal(small, utils.unary_from_labels(np.array([0, 1, 2]), 2, 0.7))


def test_other_utils_check() -> None:
    with pytest.raises(ValueError, match="scale is 2; it must be above 0 and at most 1"):
        utils.unary_from_softmax(np.ones((2, 3)), scale=2)
    with pytest.raises(ValueError, match="first dimension must be the classes"):
        utils.unary_from_softmax(np.ones((0, 3)))
    with pytest.raises(ValueError, match=r"sdims is .* 3 numbers"):
        utils.create_pairwise_gaussian((2, 3), (3, 4, 5))
    with pytest.raises(ValueError, match="schan is"):
        utils.create_pairwise_bilateral((2, 3), (3, 4), IMAGE, 2)
    with pytest.raises(ValueError, match="chdim is 5, but img has only 3 dimensions"):
        utils.create_pairwise_bilateral((2, 3), 3, IMAGE, 5)
