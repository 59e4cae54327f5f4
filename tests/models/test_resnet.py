"""ResNet: the reference's features stage by stage, torchvision's names, strides where asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atrous.models import DeepLab
from atrous.models.resnet import ResNet, resnet18, resnet50, resnet101


def conv_bn(conv: str, bn: str) -> set[str]:
    tails = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{conv}.weight"} | {f"{bn}.{tail}" for tail in tails}


def torchvision_names(depths: tuple[int, ...], convs: int, projected: set[int]) -> set[str]:
    names = conv_bn("conv1", "bn1")
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            prefix = f"layer{stage}.{block}"
            for i in range(1, convs + 1):
                names |= conv_bn(f"{prefix}.conv{i}", f"{prefix}.bn{i}")
        if stage in projected:
            names |= conv_bn(f"layer{stage}.0.downsample.0", f"layer{stage}.0.downsample.1")
    return names


@torch.no_grad()
def test_stages_equal_the_reference(
    reference_model: Callable[..., DeepLab],
    reference_image: Callable[[str], Tensor],
    golden: Callable[[str], dict[str, NDArray[Any]]],
) -> None:
    expected = golden("kazuto_features_97x129")
    backbone = reference_model().backbone
    x = reference_image("97x129")
    stem = nn.Sequential(backbone.conv1, backbone.bn1, backbone.relu, backbone.maxpool)
    for number, stage in enumerate([stem, *backbone.stages()], start=1):
        x = stage(x)
        mean, std, low, high = expected[f"layer{number}_stats"]
        tolerance = 1e-4 * std
        assert x.shape == tuple(expected[f"layer{number}_shape"])
        assert np.abs(x[0, :8].numpy() - expected[f"layer{number}_ch0_8"]).max() <= tolerance
        for ours, theirs in ((x.mean(), mean), (x.std(), std), (x.min(), low), (x.max(), high)):
            assert abs(ours.item() - theirs) <= tolerance


@pytest.mark.parametrize(
    ("build", "depths", "convs", "projected"),
    [
        (resnet18, (2, 2, 2, 2), 2, {2, 3, 4}),
        (resnet50, (3, 4, 6, 3), 3, {1, 2, 3, 4}),
        (resnet101, (3, 4, 23, 3), 3, {1, 2, 3, 4}),
    ],
)
def test_names_are_torchvisions(
    build: Callable[[], ResNet], depths: tuple[int, ...], convs: int, projected: set[int]
) -> None:
    with torch.device("meta"):
        state = build().state_dict()
    assert set(state) == torchvision_names(depths, convs, projected)


def geometry(model: ResNet, name: str) -> list[tuple[int, int]]:
    """List (stride, dilation) of the convolutions whose name ends so, in order."""
    return [
        (module.stride[0], module.dilation[0])
        for path, module in model.named_modules()
        if path.endswith(name) and isinstance(module, nn.Conv2d)
    ]


def test_caffe_places_strides_in_the_first_1x1() -> None:
    with torch.device("meta"):
        model = resnet50(stride_in_1x1=True)
    blocks_1x1 = geometry(model, ".conv1")
    assert blocks_1x1 == [(1, 1)] * 3 + [(2, 1)] + [(1, 1)] * 12
    assert geometry(model, ".conv2") == [(1, 1)] * 7 + [(1, 2)] * 6 + [(1, 4)] * 3


def test_torchvision_places_strides_in_the_3x3() -> None:
    with torch.device("meta"):
        model = resnet50(stride_in_1x1=False)
    assert geometry(model, ".conv1") == [(1, 1)] * 16
    # The first 3x3 of a stage that lost its stride still reads the grid in front of it.
    stages_1_2 = [(1, 1)] * 3 + [(2, 1)] + [(1, 1)] * 3
    assert geometry(model, ".conv2") == [*stages_1_2, (1, 1), *[(1, 2)] * 6, *[(1, 4)] * 2]


def test_output_stride_16_dilates_the_last_stage_alone() -> None:
    with torch.device("meta"):
        model = resnet101(output_stride=16)
    assert geometry(model, ".conv2") == [(1, 1)] * 30 + [(1, 2)] * 3
    assert geometry(model, "layer3.0.conv1") == [(2, 1)]


def test_padding_keeps_every_convolution_centred() -> None:
    with torch.device("meta"):
        model = resnet18()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            reach = module.dilation[0] * (module.kernel_size[0] - 1) // 2
            assert module.padding == (reach, reach)


@pytest.mark.parametrize("build", [resnet18, resnet50, resnet101])
def test_batch_norm_is_caffes(build: Callable[[], ResNet]) -> None:
    with torch.device("meta"):
        model = build()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {1e-5}


def test_pooling_rounds_up() -> None:
    with torch.device("meta"):
        model = resnet18()
        sizes = {n: model.maxpool(torch.empty(1, 64, n, n)).shape[-1] for n in (161, 188, 257)}
    assert sizes == {161: 81, 188: 95, 257: 129}
