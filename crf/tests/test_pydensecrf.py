"""The drop-in against stored results of pydensecrf: all options, unaries and functions of utils.

`tests/golden/pydensecrf_options.npz`: pydensecrf (master, 2723c7f) on an 80x60 photo
(scikit-image's astronaut, NASA), 5 iterations; every second pixel of each result (every fourth of
`steps` and `Q_C*`) as 65535 Q in uint16, and `kl_*`, its klDivergence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atrous_crf.pydensecrf import densecrf as dcrf
from atrous_crf.pydensecrf import eigen, utils

GOLDEN = Path(__file__).parent / "golden"
WIDTH, HEIGHT, LABELS = 80, 60, 5

# The original compiled with FMA differs from itself by up to 4.4e-4.
MAX_ERROR, MEAN_ERROR = 2e-3, 1e-4


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "pydensecrf_options.npz") as file:
        return dict(file)


def crf_2d(golden: dict[str, np.ndarray]) -> dcrf.DenseCRF2D:
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, LABELS)
    crf.setUnaryEnergy(golden["unary"])
    return crf


def add_both(crf: Any, image: np.ndarray, spatial: Any = 3, bilateral: Any = 10, **options: Any):
    crf.addPairwiseGaussian(sxy=3, compat=spatial, **options)
    crf.addPairwiseBilateral(sxy=20, srgb=13, rgbim=image, compat=bilateral, **options)
    return crf


def assert_matches(q: Any, stored: np.ndarray) -> None:
    labels, rows, _ = stored.shape
    stride = HEIGHT // rows
    ours = np.array(q).reshape(labels, HEIGHT, WIDTH)[:, ::stride, ::stride]
    error = np.abs(ours - stored / 65535)
    assert error.max() <= MAX_ERROR
    assert error.mean() <= MEAN_ERROR
    top_two = np.sort(stored, axis=0)[-2:]
    clear = (top_two[-1] - top_two[0] > 2) if labels > 1 else np.ones(stored.shape[1:], bool)
    differ = clear & (ours.argmax(0) != stored.argmax(0))
    assert differ.mean() <= 0.0005


def check(golden: dict[str, np.ndarray], name: str, crf: Any) -> None:
    q = crf.inference(5)
    assert_matches(q, golden[f"Q_{name}"])
    assert crf.klDivergence(q) == pytest.approx(golden[f"kl_{name}"], rel=1e-4, abs=0.5)


@pytest.mark.parametrize(
    ("name", "normalization", "compat"),
    [
        ("NO", dcrf.NO_NORMALIZATION, (0.05, 0.02)),
        ("BEFORE", dcrf.NORMALIZE_BEFORE, (3, 10)),
        ("AFTER", dcrf.NORMALIZE_AFTER, (3, 10)),
        ("SYM", dcrf.NORMALIZE_SYMMETRIC, (3, 10)),
        ("SYM", 3, (3, 10)),
    ],
)
def test_normalizations(
    golden: dict[str, np.ndarray], name: str, normalization: int, compat: tuple[float, float]
) -> None:
    crf = add_both(crf_2d(golden), golden["img"], *compat, normalization=normalization)
    check(golden, f"norm_{name}", crf)


@pytest.mark.parametrize("kernel", [dcrf.CONST_KERNEL, dcrf.DIAG_KERNEL, dcrf.FULL_KERNEL, 2])
def test_kernel_types_do_not_change_the_result(golden: dict[str, np.ndarray], kernel: int) -> None:
    check(golden, "norm_SYM", add_both(crf_2d(golden), golden["img"], kernel=kernel))


def compats(golden: dict[str, np.ndarray]) -> dict[str, Any]:
    vector = golden["compat_vec"]
    return {
        "vec": vector,
        "vec_positive": -vector,
        "mat": golden["compat_mat_asymmetric"],
        "mat_potts": -3 * np.eye(LABELS, dtype=np.float32),
        "negative": -1,
    }


@pytest.mark.parametrize("name", ["vec", "vec_positive", "mat", "mat_potts", "negative"])
def test_compatibilities(golden: dict[str, np.ndarray], name: str) -> None:
    compat = compats(golden)[name]
    check(golden, f"compat_{name}", add_both(crf_2d(golden), golden["img"], compat, compat))


def test_scalar_is_a_negative_diagonal_matrix(golden: dict[str, np.ndarray]) -> None:
    crf = add_both(crf_2d(golden), golden["img"], 3, np.float32(3))
    check(golden, "compat_mat_potts", crf)


def test_widths_for_each_direction_and_channel(golden: dict[str, np.ndarray]) -> None:
    crf = crf_2d(golden)
    crf.addPairwiseGaussian(sxy=(2, 5), compat=3)
    crf.addPairwiseBilateral(sxy=(30, 10), srgb=(5, 13, 40), rgbim=golden["img"], compat=6)
    check(golden, "anisotropic", crf)


def test_one_term_or_none(golden: dict[str, np.ndarray]) -> None:
    gaussian, bilateral = crf_2d(golden), crf_2d(golden)
    gaussian.addPairwiseGaussian(3, 3)
    bilateral.addPairwiseBilateral(20, 13, golden["img"], 10)
    check(golden, "gauss_only", gaussian)
    check(golden, "bilateral_only", bilateral)
    check(golden, "none", crf_2d(golden))


def test_without_a_unary_inference_starts_uniform(golden: dict[str, np.ndarray]) -> None:
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, LABELS)
    crf.addPairwiseGaussian(3, 3)
    check(golden, "no_unary", crf)
    q, _, _ = crf.startInference()
    assert not np.array(q).any()


def test_logistic_unary(golden: dict[str, np.ndarray]) -> None:
    one, other = (dcrf.DenseCRF2D(WIDTH, HEIGHT, LABELS) for _ in range(2))
    one.setUnary(dcrf.LogisticUnary(golden["logistic_L"], golden["logistic_f"]))
    other.setUnaryEnergy(golden["logistic_L"], golden["logistic_f"])
    for crf in (one, other):
        crf.addPairwiseGaussian(3, 3)
        check(golden, "logistic_unary", crf)


def test_const_unary_is_a_copy_and_can_be_used_twice(golden: dict[str, np.ndarray]) -> None:
    energy = golden["unary"].copy()
    unary = dcrf.ConstUnary(energy)
    energy[:] = 0
    for _ in range(2):
        crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, LABELS)
        crf.setUnary(unary)
        check(golden, "none", crf)


def generic(golden: dict[str, np.ndarray], *features: np.ndarray) -> dcrf.DenseCRF:
    crf = dcrf.DenseCRF(WIDTH * HEIGHT, LABELS)
    crf.setUnaryEnergy(golden["unary"])
    for array, compat in zip(features, (10, 3), strict=False):
        crf.addPairwiseEnergy(array, compat)
    return crf


def test_generic_features_in_their_own_order(golden: dict[str, np.ndarray]) -> None:
    image = golden["img"]
    bilateral = utils.create_pairwise_bilateral((20, 20), (13, 13, 13), image, chdim=2)
    gaussian = utils.create_pairwise_gaussian((3, 3), (HEIGHT, WIDTH))
    check(golden, "generic_utils", generic(golden, bilateral, gaussian))


def test_the_originals_points_at_the_origin() -> None:
    """Points are padded to a multiple of four; the vertices of the padding are blurred too."""
    crf = dcrf.DenseCRF(3, 2)
    crf.setUnaryEnergy(np.float32([[0.1, 1.2, 0.4], [1.0, 0.2, 0.9]]))
    crf.addPairwiseEnergy(
        np.float32([[0.9, 1.3, 2.0]]), 3.0, normalization=dcrf.NO_NORMALIZATION
    )  # without them: 0.7829, 0.3483, 0.6918
    q = np.array(crf.inference(1))
    assert np.allclose(q[0], [0.79678786, 0.35822183, 0.6917498], atol=1e-5)


def test_gray_and_multispectral_features(golden: dict[str, np.ndarray]) -> None:
    image = golden["img"]
    gray = utils.create_pairwise_bilateral((20, 20), 10, image[:, :, 1], chdim=-1)
    check(golden, "gray_chdim-1", generic(golden, gray))
    seven = np.concatenate([image, image[:, :, ::-1] // 2, image[:, :, :1]], 2).astype(np.float32)
    features = utils.create_pairwise_bilateral((20, 20), 20, seven.transpose(2, 0, 1), chdim=0)
    check(golden, "multispectral7", generic(golden, features))


def test_steps_equal_inference_and_report_the_divergence(golden: dict[str, np.ndarray]) -> None:
    crf = add_both(crf_2d(golden), golden["img"])
    q, tmp1, tmp2 = crf.startInference()
    for step, divergence in enumerate(golden["kl_steps"]):
        if step:
            crf.stepInference(q, tmp1, tmp2)
        assert_matches(q, golden["steps"][step])
        assert crf.klDivergence(q) == pytest.approx(divergence, rel=1e-4)
    np.testing.assert_allclose(np.array(q), np.array(crf.inference(5)), atol=1e-6)


@pytest.mark.parametrize("labels", [1, 2, 9, 33])
def test_numbers_of_labels(golden: dict[str, np.ndarray], labels: int) -> None:
    probabilities = golden[f"P_C{labels}"].repeat(4, axis=1).repeat(4, axis=2)
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, labels)
    crf.setUnaryEnergy(utils.unary_from_softmax(probabilities))
    assert_matches(add_both(crf, golden["img"]).inference(5), golden[f"Q_C{labels}"])


def test_utils_equal_the_originals() -> None:
    with np.load(GOLDEN / "pydensecrf_utils.npz") as file:
        stored = dict(file)
    labels, sm, image = stored["labels"], stored["sm"], stored["im"]
    ours = {
        "ufl_unsure": utils.unary_from_labels(labels, 3, 0.8),
        "ufl_sure": utils.unary_from_labels(labels, 4, 0.8, zero_unsure=False),
        "ufs": utils.unary_from_softmax(sm),
        "ufs_scale": utils.unary_from_softmax(sm, scale=0.6),
        "ufs_noclip": utils.unary_from_softmax(sm, clip=None),
        "ufs_clip": utils.unary_from_softmax(sm, clip=1e-2),
        "cpg": utils.create_pairwise_gaussian((2, 3), (4, 5)),
        "cpb": utils.create_pairwise_bilateral((2, 3), (5, 6, 7), image, 2),
        "cpb0": utils.create_pairwise_bilateral((2, 3), 9, image.transpose(2, 0, 1), 0),
        "cpbm1": utils.create_pairwise_bilateral((2, 3), 9, image[:, :, 0], -1),
    }
    for name, value in ours.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, stored[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_old_names_of_utils(caplog: pytest.LogCaptureFixture) -> None:
    labels, sm = np.array([[0, 1], [2, 1]]), np.array([[0.25, 0.9], [0.75, 0.1]])
    np.testing.assert_array_equal(
        utils.compute_unary(labels, 2), utils.unary_from_labels(labels, 2, 0.5)
    )
    np.testing.assert_array_equal(
        utils.softmax_to_unary(sm, 0.7), utils.unary_from_softmax(sm, 0.7, clip=None)
    )
    assert "compute_unary is deprecated, use unary_from_labels" in caplog.text
    assert "softmax_to_unary is deprecated, use unary_from_softmax" in caplog.text


def test_results_are_arrays_in_every_use(golden: dict[str, np.ndarray]) -> None:
    q = crf_2d(golden).inference(1)
    view = memoryview(q)
    assert (view.shape, view.format, view.readonly) == ((LABELS, WIDTH * HEIGHT), "f", False)
    assert type(np.array(q)) is type(np.argmax(q, axis=0)) is np.ndarray
    assert np.argmax(q, axis=0).reshape(HEIGHT, WIDTH).shape == (HEIGHT, WIDTH)
    assert isinstance(q, eigen.MatrixXf)
    np.asarray(q)[:, 0] = 7
    assert np.array(q)[0, 0] == 7


def test_eigen_copies_float32() -> None:
    matrix, vector = np.eye(3, dtype=np.float32), np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(np.array(eigen.matrixXf(matrix)), matrix)
    np.testing.assert_array_equal(np.array(eigen.vectorXf(vector)), vector)
    assert not np.shares_memory(eigen.matrixXf(matrix), matrix)
    assert np.array(eigen.MatrixXf()).shape == (0, 0)
    assert np.array(eigen.VectorXf()).shape == (0,)


def test_constants_are_the_originals_numbers() -> None:
    assert [int(kernel) for kernel in dcrf.KernelType] == [0, 1, 2]
    assert [int(kind) for kind in dcrf.NormalizationType] == [0, 1, 2, 3]
    assert dcrf.FULL_KERNEL == 2
    assert dcrf.NO_NORMALIZATION == 0
    assert dcrf.NORMALIZE_BEFORE == 1
    assert dcrf.NORMALIZE_AFTER == 2
    assert dcrf.NORMALIZE_SYMMETRIC == 3
