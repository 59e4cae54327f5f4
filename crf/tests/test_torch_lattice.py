"""The lattice and the mean field in torch: golden values, the CPU kernel, gradients, batches."""

# ruff: noqa: E402 - these tests are skipped before they import torch, where there is none.

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch, which is not installed")

from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from atrous_crf import CRFParams, DenseCRF
from atrous_crf import torch_lattice as lattices
from atrous_crf.torch_lattice import Lattice, crf_lattices, refine_torch, to_rows

GOLDEN = Path(__file__).parent / "golden"
DEEPLAB = CRFParams(10, 3, 1, 4, 67, 3)
README = CRFParams(5, 3, 3, 10, 80, 13)
MILD = CRFParams(3, 3, 1.5, 4, 5, 60)
GOLDEN_TOLERANCE = 2e-3  # pydensecrf differs from itself by 4e-4, compiled with and without FMA


class Scene(NamedTuple):
    probabilities: Tensor
    image: Tensor


def draw_scene(
    *shape: int, dtype: torch.dtype = torch.float32, size_hw: tuple[int, int] = (9, 11)
) -> Scene:
    """Draw smooth probabilities, (*shape, H, W), and a noisy image with an edge."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(*shape, *size_hw, generator=generator, dtype=dtype)
    image = torch.randint(0, 60, (*shape[:-1], *size_hw, 3), generator=generator)
    image[..., size_hw[1] // 2 :, :] += 150
    return Scene(logits.softmax(-3), image.to(torch.uint8))


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    """Load the marginals of a 60x45 image by pydensecrf (master, 2723c7f) and by exact O(N^2) sums.

    `deeplab`, `readme`, `exact_*`: every second pixel, as 65535 Q in uint16. `img`: the astronaut
    of scikit-image (NASA, public domain). `logits`: from a seeded generator.
    """
    with np.load(GOLDEN / "pydensecrf_refine.npz") as file:
        arrays = dict(file)
    # The reference samples its scores at every half pixel: 45x60 of a corner-aligned 47x61.
    logits = torch.from_numpy(arrays["logits"]).float()[None]
    rows, columns = 2 * logits.shape[2] - 1, 2 * logits.shape[3] - 1
    scores = F.interpolate(logits, (rows, columns), mode="bilinear", align_corners=True)
    return {
        "scene": Scene(scores[0, :, :45, :60].softmax(0), torch.from_numpy(arrays["img"])),
        **{name: arrays[name] / 65535 for name in arrays if name not in ("img", "logits")},
    }


@pytest.mark.parametrize(("name", "params"), [("deeplab", DEEPLAB), ("readme", README)])
def test_refine_equals_pydensecrf(golden: dict[str, Any], name: str, params: CRFParams) -> None:
    refined = refine_torch(*golden["scene"], params)[:, ::2, ::2].numpy()
    difference = np.abs(refined - golden[name])
    assert difference.max() < GOLDEN_TOLERANCE
    assert difference.mean() < 1e-4
    assert (refined.argmax(0) == golden[name].argmax(0)).all()


@pytest.mark.parametrize(("name", "params"), [("deeplab", DEEPLAB), ("readme", README)])
def test_high_accuracy_is_nearer_to_the_exact_mean_field(
    golden: dict[str, Any], name: str, params: CRFParams
) -> None:
    exact = golden[f"exact_{name}"]
    plain, high = (
        np.abs(refine_torch(*golden["scene"], params, accuracy)[:, ::2, ::2].numpy() - exact)
        for accuracy in ("lattice", "high")
    )
    assert high.mean() < 0.6 * plain.mean()


@pytest.mark.parametrize("num_classes", [1, 2, 9, 33])
def test_refine_equals_pydensecrf_for_any_number_of_classes(num_classes: int) -> None:
    with np.load(GOLDEN / "pydensecrf_options.npz") as file:
        expected = file[f"Q_C{num_classes}"] / 65535
        blocks = file[f"P_C{num_classes}"]
        image = torch.from_numpy(file["img"])
    probabilities = torch.from_numpy(blocks.repeat(4, axis=1).repeat(4, axis=2))
    refined = refine_torch(probabilities, image, CRFParams(5, 3, 3, 10, 20, 13))
    np.testing.assert_allclose(refined[:, ::4, ::4].numpy(), expected, atol=GOLDEN_TOLERANCE)


@pytest.mark.parametrize("accuracy", ["lattice", "high"])
@pytest.mark.parametrize("params", [DEEPLAB, README, MILD])
def test_refine_equals_the_compiled_kernel(
    golden: dict[str, Any], params: CRFParams, accuracy: str
) -> None:
    probabilities, image = golden["scene"]
    expected = DenseCRF(params, accuracy=accuracy).refine(probabilities.numpy(), image.numpy())
    refined = refine_torch(probabilities, image, params, accuracy)
    np.testing.assert_allclose(refined.numpy(), expected, atol=1e-3)
    np.testing.assert_allclose(refined.numpy().sum(0), 1, atol=1e-5)


def test_tensors_with_a_gradient_pass_through_densecrf() -> None:
    probabilities, image = draw_scene(3)
    probabilities.requires_grad_()
    refined = DenseCRF(MILD).refine(probabilities, image)
    refined[0].sum().backward()
    assert probabilities.grad is not None
    assert probabilities.grad.abs().max() > 0


@pytest.mark.parametrize("accuracy", ["lattice", "high"])
def test_a_batch_equals_its_images_one_by_one(accuracy: str) -> None:
    batch = draw_scene(3, 5)
    refined = refine_torch(*batch, MILD, accuracy)
    singles = [refine_torch(p, i, MILD, accuracy) for p, i in zip(*batch, strict=True)]
    torch.testing.assert_close(refined, torch.stack(singles), atol=1e-6, rtol=0)


def test_permuted_classes_stay_permuted() -> None:
    probabilities, image = draw_scene(4)
    order = [2, 0, 3, 1]
    refined = refine_torch(probabilities, image, MILD)
    torch.testing.assert_close(refine_torch(probabilities[order], image, MILD), refined[order])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_float_types_are_refined_in_float32_or_float64(dtype: torch.dtype) -> None:
    probabilities, image = draw_scene(3, dtype=torch.float64)
    refined = refine_torch(probabilities.to(dtype), image, MILD)
    assert refined.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    expected = refine_torch(probabilities.to(dtype).float(), image, MILD)
    torch.testing.assert_close(refined.float(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 7), (5, 1)])
def test_smallest_images_are_refined(size_hw: tuple[int, int]) -> None:
    probabilities, image = draw_scene(3, size_hw=size_hw)
    refined = refine_torch(probabilities, image, DEEPLAB)
    torch.testing.assert_close(refined.sum(0), torch.ones(size_hw))


def test_no_iterations_return_the_input() -> None:
    probabilities, image = draw_scene(3)
    refined = refine_torch(probabilities, image, CRFParams(iterations=0))
    torch.testing.assert_close(refined, probabilities)


@pytest.mark.parametrize("accuracy", ["lattice", "high"])
def test_filters_transpose_is_its_gradient(accuracy: str) -> None:
    _, image = draw_scene(1, 1)
    _, bilateral = crf_lattices(image, MILD, accuracy=accuracy, dtype=torch.float64)
    identity = torch.eye(bilateral.num_points, dtype=torch.float64, requires_grad=True)
    matrix = bilateral.filter(identity)
    weights = torch.rand(matrix.shape, generator=torch.Generator().manual_seed(1)).double()
    (matrix * weights).sum().backward()
    torch.testing.assert_close(identity.grad, matrix.detach().T @ weights)
    # Blurring along one axis after the other over occupied vertices only is not symmetric.
    assert (matrix - matrix.T).abs().max() > 1e-6


@pytest.mark.parametrize("accuracy", ["lattice", "high"])
def test_gradient_to_the_probabilities_is_right(accuracy: str) -> None:
    probabilities, image = draw_scene(1, 3, dtype=torch.float64, size_hw=(3, 4))
    probabilities.requires_grad_()
    assert gradcheck(lambda p: refine_torch(p, image, MILD, accuracy), probabilities)


def test_clipped_probabilities_have_no_gradient() -> None:
    probabilities, image = draw_scene(3)
    probabilities[0, 0, 0] = 1e-7
    probabilities.requires_grad_()
    refine_torch(probabilities, image, MILD)[1].sum().backward()
    assert probabilities.grad is not None
    assert probabilities.grad[0, 0, 0] == 0
    assert probabilities.grad[1, 0, 0] != 0


@pytest.mark.parametrize("d", [1, 2, 3, 5, 7])
def test_filter_comes_near_the_gaussian(d: int) -> None:
    generator = torch.Generator().manual_seed(d)
    features = 0.7 * torch.randn(1, 300, d, generator=generator)
    values = torch.rand(300, 2, generator=generator)
    exact = torch.exp(-0.5 * torch.cdist(features[0], features[0]) ** 2) @ values
    filtered = Lattice.build(features, ring=True).filter(values)
    # Both are known up to a factor, which the normalisation removes.
    ratio = filtered / filtered.sum() * exact.sum() / exact
    assert (ratio - 1).abs().mean() < 0.1


def test_lattice_ignores_a_shift_of_whole_cells_and_images_are_separate() -> None:
    features = torch.rand(1, 20, 3, generator=torch.Generator().manual_seed(0))
    twice = Lattice.build(features.expand(2, -1, -1))
    once = Lattice.build(features)
    assert twice.num_vertices == 2 * once.num_vertices
    values = torch.zeros(40, 1)
    values[:20] = 1
    filtered = twice.filter(values)
    assert (filtered[20:] == 0).all()
    torch.testing.assert_close(filtered[:20], once.filter(torch.ones(20, 1)))
    torch.testing.assert_close(once.repeat(2).filter(values), filtered)


def test_the_code_for_mps_devices_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, image = draw_scene(1, 3)
    values = to_rows(probabilities)
    _, bilateral = crf_lattices(image, MILD, accuracy="lattice", dtype=torch.float32)
    expected = bilateral.filter(values)
    monkeypatch.setattr(lattices, "lacks_embedding_bag", lambda _: True)
    torch.testing.assert_close(bilateral.filter(values), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"probabilities": torch.rand(3, 4)},
            r"\(3, 4\); they must be \(K, H, W\)",
        ),
        ({"probabilities": torch.rand(0, 9, 11)}, r"probabilities are \(0, 9, 11\)"),
        ({"probabilities": torch.ones(3, 9, 11, dtype=torch.int64)}, "must be floats from 0 to 1"),
        (
            {"probabilities": torch.rand(3, 9, 11) - 1},
            r"probabilities go down to -0\.\d+; .*softmax",
        ),
        ({"probabilities": torch.rand(3, 5, 6)}, r"image is \(9, 11, 3\).*upsample"),
        ({"image": torch.zeros(9, 11, dtype=torch.uint8)}, r"it must be \(9, 11, 3\)"),
        ({"image": torch.zeros(9, 11, 3)}, "image is torch.float32; it must be uint8"),
        (
            {"image": torch.zeros(9, 11, 3, dtype=torch.uint8, device="meta")},
            "image is on meta but probabilities are on cpu",
        ),
        ({"probabilities": torch.full((3, 9, 11), torch.nan)}, "contain NaN or infinity"),
        ({"accuracy": "exact"}, "accuracy is 'exact'; it must be one of lattice, high"),
        ({"params": CRFParams(bilateral_rgb_std=0.01)}, "lattice cells in 1 images"),
        ({"params": CRFParams(spatial_xy_std=1e-20)}, "use wider kernels"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    probabilities, image = draw_scene(3)
    arguments = {"probabilities": probabilities, "image": image, "params": MILD, **change}
    with pytest.raises(ValueError, match=message):
        refine_torch(**arguments)


@pytest.mark.parametrize("has_gradient", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, i: ((255 * p).to(torch.uint8), i), "torch.uint8; .* divide by 255"),
        (lambda p, i: (p.round().long(), i), "probabilities are torch.int64; they must be floats"),
        (lambda p, i: (p > 0.5, i), "probabilities are torch.bool; they must be floats from 0"),
        (lambda p, i: (p.to(torch.complex64), i), "probabilities are torch.complex64"),
        (lambda p, i: (p - 0.5, i), r"probabilities go down to -0\.\d+; they must be from 0 to 1"),
        (lambda p, i: (p.to_sparse(), i), r"torch.sparse_coo; it must be dense: .*\.to_dense\(\)"),
        (lambda p, i: (p, i.to_sparse()), "image is torch.sparse_coo; it must be dense"),
        (lambda p, i: (p, None), "image is None; it must be uint8 RGB from 0 to 255"),
        (lambda p, i: (p, i.numpy().astype(object)), "image is object; it must be uint8 RGB"),
        (lambda p, i: (p, i.numpy() / 255), "image is float64; it must be uint8 RGB from 0 to"),
        (lambda p, i: (p, i.bfloat16()), "image is torch.bfloat16; it must be uint8 RGB from 0"),
        (lambda p, i: (p, i.float().requires_grad_()), "image is torch.float32; it must be uint8"),
    ],
)
def test_densecrf_refuses_tensors_as_it_does_arrays(
    change: Callable[[Tensor, Tensor], Any], message: str, has_gradient: bool
) -> None:
    probabilities, image = change(*draw_scene(3))
    if has_gradient and probabilities.is_floating_point():
        probabilities.requires_grad_()
    with pytest.raises(ValueError, match=message):
        DenseCRF(MILD).refine(probabilities, image)


@pytest.mark.parametrize("has_gradient", [False, True])
def test_lazily_negated_tensors_are_refined(has_gradient: bool) -> None:
    probabilities, image = draw_scene(3)
    negated = torch.complex(torch.zeros_like(probabilities), -probabilities).conj().imag
    assert negated.is_neg()
    negated = negated.detach().requires_grad_(has_gradient)
    refined = DenseCRF(MILD).refine(negated, image)
    torch.testing.assert_close(refined, DenseCRF(MILD).refine(probabilities, image))


def test_features_must_have_points_and_be_finite() -> None:
    with pytest.raises(ValueError, match=r"features are \(5, 2\); they must be \(N, P, d\)"):
        Lattice.build(torch.rand(5, 2))
    with pytest.raises(ValueError, match="check them for NaN"):
        Lattice.build(torch.full((1, 5, 2), torch.nan))


@pytest.mark.gpu
@pytest.mark.parametrize("use_triton", [True, False])
@pytest.mark.parametrize("num_classes", [2, 21, 150])
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
def test_cuda_equals_the_cpu(
    monkeypatch: pytest.MonkeyPatch, num_classes: int, use_triton: bool
) -> None:
    if not use_triton:
        monkeypatch.setattr(lattices, "triton_kernels", lambda _: None)
    scene = draw_scene(2, num_classes, size_hw=(40, 50))
    probabilities, image = (tensor.cuda() for tensor in scene)
    probabilities.requires_grad_()
    expected = refine_torch(*scene, README)
    refined = refine_torch(probabilities, image, README)  # filter by filter
    torch.testing.assert_close(refined.detach().cpu(), expected, atol=1e-4, rtol=0)
    fused = refine_torch(probabilities.detach(), image, README)
    torch.testing.assert_close(fused.cpu(), expected, atol=1e-4, rtol=0)
    assert (fused == refine_torch(probabilities.detach(), image, README)).all()  # bit by bit

    on_cpu = scene.probabilities.clone().requires_grad_()
    refine_torch(on_cpu, scene.image, README)[:, 0].sum().backward()
    refined[:, 0].sum().backward()
    assert probabilities.grad is not None
    torch.testing.assert_close(probabilities.grad.cpu(), on_cpu.grad, atol=1e-3, rtol=1e-3)
