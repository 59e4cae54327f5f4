"""Heads: branches equal to the reference, rates, and the learned way up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from atrous.models import DeepLab, create_model
from atrous.models.heads import (
    ConcatenatedASPP,
    LearnedUpsampling,
    SummedConvs,
    SummedFullyConnected,
    make_head,
)
from atrous.resize import resize_logits


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@torch.no_grad()
def test_branches_equal_the_reference(
    reference_model: Callable[..., DeepLab],
    reference_image: Callable[[str], Tensor],
    golden: Callable[[str], dict[str, NDArray[Any]]],
) -> None:
    expected = golden("kazuto_features_97x129")
    model = reference_model()
    features = model.backbone(reference_image("97x129"))
    scores = [branch(features) for branch in model.head.branches]
    tolerance = 1e-4 * expected["base_float64run"].std()
    for index, branch in enumerate(scores):
        assert np.abs(branch.numpy() - expected[f"aspp_c{index}"]).max() <= tolerance
    assert torch.equal(model.head(features), sum(scores[1:], scores[0]))


@pytest.mark.parametrize(
    ("name", "rates"),
    [("aspp", (6, 12, 18, 24)), ("aspp_s", (2, 4, 8, 12)), ("largefov", (12,))],
)
def test_rates_are_the_papers(name: str, rates: tuple[int, ...]) -> None:
    head = make_head(name, 8, 3, None, is_vgg=False)
    geometry = [(c.kernel_size, c.dilation, c.padding, c.stride) for c in head.branches]
    assert geometry == [((3, 3), (r, r), (r, r), (1, 1)) for r in rates]
    vgg = make_head(name, 8, 3, None, is_vgg=True)
    assert [b.fc6.dilation for b in vgg.branches] == [(r, r) for r in rates]


def test_conv1x1_is_one_convolution_on_every_backbone() -> None:
    for vgg in (False, True):
        head = make_head("conv1x1", 8, 3, None, is_vgg=vgg)
        assert isinstance(head, SummedConvs)
        assert [c.kernel_size for c in head.branches] == [(1, 1)]


def test_own_rates_replace_the_heads() -> None:
    head = make_head("aspp", 8, 3, (3, 5), is_vgg=False)
    assert [c.dilation for c in head.branches] == [(3, 3), (5, 5)]


def test_conv1x1_takes_no_rates() -> None:
    with pytest.raises(ValueError, match="head 'conv1x1' has no atrous branches"):
        make_head("conv1x1", 8, 3, (6,), is_vgg=False)


def test_classifiers_start_as_caffes() -> None:
    torch.manual_seed(0)
    heads = [
        make_head("aspp", 256, 21, None, is_vgg=False).branches[0],
        make_head("aspp", 256, 21, None, is_vgg=True).branches[0].fc8,
        make_head("aspp_concat", 8, 21, None, is_vgg=False).classifier,
    ]
    for conv in heads:
        assert conv.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert conv.weight.mean().abs() < 0.001
        assert not conv.bias.any()


@torch.no_grad()
def test_vgg_branch_is_fc6_fc7_fc8() -> None:
    torch.manual_seed(0)
    head = SummedFullyConnected(16, 3, (2, 3), smooth=False).double().eval()
    features = noise(1, 16, 7, 9)
    expected = torch.zeros(1, 3, 7, 9, dtype=torch.float64)
    for branch, rate in zip(head.branches, (2, 3), strict=True):
        x = F.conv2d(features, branch.fc6.weight, branch.fc6.bias, padding=rate, dilation=rate)
        x = F.conv2d(x.clamp(min=0), branch.fc7.weight, branch.fc7.bias)
        expected += F.conv2d(x.clamp(min=0), branch.fc8.weight, branch.fc8.bias)
    torch.testing.assert_close(head(features), expected)


@torch.no_grad()
def test_largefov_averages_pool5_first_on_vgg_alone() -> None:
    torch.manual_seed(0)
    head = make_head("largefov", 16, 3, None, is_vgg=True).double().eval()
    features = noise(1, 16, 7, 9)
    averaged = F.avg_pool2d(features, 3, stride=1, padding=1)
    torch.testing.assert_close(head(features), head.branches[0](averaged))
    plain = make_head("largefov", 16, 3, None, is_vgg=False).double()
    assert torch.equal(plain(features), plain.branches[0](features))


def test_vgg_branches_drop_half_of_fc6_and_fc7_in_training() -> None:
    torch.manual_seed(0)
    head = make_head("largefov", 16, 3, None, is_vgg=True).train()
    dropouts = [m.p for m in head.modules() if isinstance(m, nn.Dropout)]
    assert dropouts == [0.5]
    features = noise(1, 16, 3, 3).float()
    assert not torch.equal(head(features), head(features))


@torch.no_grad()
def test_concatenated_aspp_equals_its_parts_written_out() -> None:
    torch.manual_seed(0)
    head = ConcatenatedASPP(16, 3, (2, 4)).double().eval()
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=torch.Generator().manual_seed(1))
    features = noise(2, 16, 7, 9)

    def part(layer: nn.Sequential, x: Tensor, rate: int = 1) -> Tensor:
        padding = rate * (layer[0].kernel_size[0] // 2)
        x = F.conv2d(x, layer[0].weight, padding=padding, dilation=rate)
        norm = layer[1]
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        return x.clamp(min=0)

    pooled = part(head.pooling.project, features.mean((2, 3), keepdim=True))
    parts = [
        part(head.pointwise, features),
        part(head.branches[0], features, rate=2),
        part(head.branches[1], features, rate=4),
        pooled.repeat(1, 1, 7, 9),
    ]
    x = part(head.project, torch.cat(parts, dim=1))
    expected = F.conv2d(x, head.classifier.weight, head.classifier.bias)
    torch.testing.assert_close(head(features), expected)


def test_image_pooling_trains_on_two_images_or_frozen_norms() -> None:
    head = ConcatenatedASPP(8, 3, (2,)).train()
    features = noise(1, 8, 5, 5).float()
    with pytest.raises(
        ValueError, match=r"holds one; train `aspp_concat` with batches of 2 or more"
    ):
        head(features)
    assert head(features.repeat(2, 1, 1, 1)).shape == (2, 3, 5, 5)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    assert head(features).shape == (1, 3, 5, 5)
    assert head.eval()(features).shape == (1, 3, 5, 5)


def learned(stride: int = 8, num_classes: int = 2) -> LearnedUpsampling:
    return LearnedUpsampling(num_classes, stride).double()


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (3, 2), (5, 7), (9, 9)])
@torch.no_grad()
def test_learned_upsampling_starts_out_bilinear(stride: int, rows: int, columns: int) -> None:
    logits = noise(2, 2, rows, columns)
    size_hw = ((rows - 1) * stride + 1, (columns - 1) * stride + 1)
    expected = resize_logits(logits, size_hw, align_corners=True)
    torch.testing.assert_close(learned(stride)(logits, size_hw), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_learned_upsampling_repeats_the_last_scores_beyond_the_grid() -> None:
    logits = noise(1, 2, 3, 4)
    pixels = learned()(logits, (24, 32))
    inner = resize_logits(logits, (17, 25), align_corners=True)
    torch.testing.assert_close(pixels[..., :17, :25], inner)
    torch.testing.assert_close(pixels[..., 17:, :25], inner[..., -1:, :].expand(-1, -1, 7, -1))
    torch.testing.assert_close(pixels[..., :17, 25:], inner[..., -1:].expand(-1, -1, -1, 7))


@torch.no_grad()
def test_learned_upsampling_can_mix_classes() -> None:
    layer = learned(num_classes=2)
    layer.weight.zero_()
    layer.weight[0, 1, 7, 7] = 1  # class 0's scores go to class 1, one pixel each
    logits = noise(1, 2, 2, 2)
    pixels = layer(logits, (9, 9))
    assert not pixels[:, 0].any()
    assert torch.equal(pixels[:, 1, ::8, ::8], logits[:, 0])
    assert (pixels[:, 1] != 0).sum() == 4


@torch.no_grad()
def test_transposed_upsampling_gives_every_size_of_an_input_exactly() -> None:
    model = create_model("deeplabv2_resnet18", num_classes=2, upsampling="transposed")
    for height, width in [*((n, 41 - n) for n in range(1, 41)), (1, 500), (321, 188), (512, 513)]:
        logits = torch.zeros(1, 2, -(-height // 8), -(-width // 8))
        assert model.upsample(logits, (height, width)).shape == (1, 2, height, width)


@pytest.mark.parametrize("size_hw", [(1, 1), (10, 40), (33, 41), (100, 9), (300, 700)])
@torch.no_grad()
def test_transposed_upsampling_reaches_foreign_sizes_through_its_own(
    size_hw: tuple[int, int],
) -> None:
    options = {"upsampling": "transposed", "align_corners": True}
    model = create_model("deeplabv2_resnet18", num_classes=2, **options).double()
    logits = noise(1, 2, 9, 11)
    grid = resize_logits(logits, (65, 81), align_corners=True)
    expected = resize_logits(grid, size_hw, align_corners=True)
    torch.testing.assert_close(model.upsample(logits, size_hw), expected, rtol=0, atol=1e-12)
