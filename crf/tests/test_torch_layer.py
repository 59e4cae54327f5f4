"""`CRFLayer`: gradients to its weights, learning, iterations, and what it refuses."""

# ruff: noqa: E402 - these tests are skipped before they import torch, where there is none.

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs torch, which is not installed")

from torch import Tensor
from torch.autograd import gradcheck
from torch.func import functional_call
from torch.nn import functional as F

from atrous_crf import CRFLayer, CRFParams
from atrous_crf.torch_lattice import refine_torch

MILD = CRFParams(3, 3, 1.5, 4, 5, 60)


def noisy_square(size: int = 24, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a bright square: weak, noisy scores (1, 2, H, W), the image, and the true labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(1, size, size, dtype=torch.int64)
    labels[:, size // 6 : 5 * size // 6, size // 6 : 5 * size // 6] = 1
    noise = torch.randn(1, 2, size, size, generator=generator)
    scores = 1.2 * F.one_hot(labels, 2).permute(0, 3, 1, 2) + noise
    brightness = 60 + 120 * labels[..., None]
    brightness += torch.randint(0, 20, (1, size, size, 1), generator=generator)
    return scores, brightness.expand(-1, -1, -1, 3).to(torch.uint8), labels


@pytest.mark.parametrize("accuracy", ["lattice", "high"])
def test_layer_starts_as_the_dense_crf(accuracy: str) -> None:
    scores, images, _ = noisy_square()
    layer = CRFLayer(2, MILD, accuracy=accuracy).eval()
    expected = refine_torch(scores.softmax(1), images, MILD, accuracy)
    torch.testing.assert_close(layer(scores, images).softmax(1), expected, atol=1e-5, rtol=0)


def test_gradients_to_unaries_weights_and_compatibility_are_right() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 2, 3, generator=generator, dtype=torch.float64)
    images = torch.randint(0, 256, (2, 2, 3, 3), generator=generator).to(torch.uint8)
    layer = CRFLayer(3, MILD, train_iterations=2).double()
    with torch.no_grad():
        layer.compatibility += 0.1 * torch.randn(3, 3, generator=generator)
    names = [name for name, _ in layer.named_parameters()]
    assert sorted(names) == ["bilateral_weight", "compatibility", "spatial_weight"]

    def refine(logits: Tensor, *weights: Tensor) -> Tensor:
        return functional_call(layer, dict(zip(names, weights, strict=True)), (logits, images))

    assert gradcheck(refine, (scores.requires_grad_(), *layer.parameters()))


def test_layer_learns_to_clean_a_noisy_square() -> None:
    layer = CRFLayer(2, CRFParams(5, 0.1, 3, 0.1, 10, 20))
    optimizer = torch.optim.SGD(layer.parameters(), lr=1)
    losses: list[float] = []
    for step in range(15):
        scores, images, labels = noisy_square(seed=step)
        loss = F.cross_entropy(layer(scores, images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    scores, images, labels = noisy_square(seed=99)
    before = (scores.argmax(1) == labels).float().mean()
    after = (layer.eval()(scores, images).argmax(1) == labels).float().mean()
    assert losses[-1] < 0.3 * losses[0]
    assert before < 0.85
    assert after > 0.99
    assert layer.spatial_weight.min() > 0.3
    assert layer.bilateral_weight.min() > 0.3


def test_training_takes_five_iterations_and_evaluation_those_of_the_parameters() -> None:
    layer = CRFLayer(2)
    assert layer.iterations == 5
    assert layer.eval().iterations == 10
    scores, images, _ = noisy_square()
    assert not torch.allclose(layer.train()(scores, images), layer.eval()(scores, images))


def test_autocast_does_not_lower_the_precision() -> None:
    scores, images, _ = noisy_square()
    layer = CRFLayer(2, MILD).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refined = layer(scores, images)
    assert refined.dtype == torch.float32
    torch.testing.assert_close(refined, layer(scores, images))


def test_layer_is_saved_and_loaded() -> None:
    layer, other = CRFLayer(3, MILD), CRFLayer(3)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other.bilateral_weight, layer.bilateral_weight)


def test_wrong_input_is_refused() -> None:
    scores, images, _ = noisy_square(8)
    layer = CRFLayer(2, MILD)
    with pytest.raises(ValueError, match=r"logits are .*; they must be float \(N, 2, H, W\)"):
        layer(scores[0], images)
    with pytest.raises(ValueError, match=r"they must be float \(N, 2, H, W\)"):
        layer(scores.repeat(1, 2, 1, 1), images)
    with pytest.raises(ValueError, match=r"they must be uint8 \(1, 8, 8, 3\)"):
        layer(scores, images[:, :4])
    with pytest.raises(ValueError, match="pass the pixels, not the normalised input"):
        layer(scores, images.float())
    with pytest.raises(ValueError, match="images are on meta but logits are on cpu"):
        layer(scores, images.to("meta"))
    with pytest.raises(ValueError, match="num_classes is 0"):
        CRFLayer(0)
