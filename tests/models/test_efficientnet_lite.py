"""EfficientNet-Lite0: the published stages, strides turned into dilation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from atrous.models.efficientnet_lite import EfficientNetLite0, efficientnet_lite0


def build(output_stride: int = 8) -> EfficientNetLite0:
    with torch.device("meta"):
        return efficientnet_lite0(output_stride=output_stride)


def test_convolutions_are_those_of_the_published_network() -> None:
    published, last_1x1, classifier = 4_652_008, 320 * 1280 + 2 * 1280, 1280 * 1000 + 1000
    parameters = sum(p.numel() for p in build().parameters())
    assert parameters == published - last_1x1 - classifier


def test_widths_and_depths_are_the_published_ones() -> None:
    stages = build().stages
    assert [len(stage) for stage in stages] == [1, 2, 2, 3, 3, 4, 1]
    widths = [stage[-1].project.out_channels for stage in stages]
    assert widths == [16, 24, 40, 80, 112, 192, 320]
    assert stages[0][0].expand is None
    kernels = [stage[0].depthwise.kernel_size[0] for stage in stages]
    assert kernels == [3, 3, 5, 3, 5, 5, 3]


@pytest.mark.parametrize(
    ("output_stride", "geometry"),
    [
        (8, [(1, 1), (2, 1), (2, 1), (1, 1), (1, 2), (1, 2), (1, 4)]),
        (16, [(1, 1), (2, 1), (2, 1), (2, 1), (1, 1), (1, 1), (1, 2)]),
    ],
)
def test_first_blocks_carry_stride_and_dilation(
    output_stride: int, geometry: list[tuple[int, int]]
) -> None:
    first = [stage[0].depthwise for stage in build(output_stride).stages]
    assert [(conv.stride[0], conv.dilation[0]) for conv in first] == geometry


def test_later_blocks_read_the_grid_behind_the_lost_stride() -> None:
    stages = build().stages
    assert {block.depthwise.dilation[0] for block in list(stages[3])[1:]} == {2}
    assert {block.depthwise.dilation[0] for block in list(stages[5])[1:]} == {4}


def test_names_say_what_they_are() -> None:
    names = {name.rpartition(".")[0] for name in build().state_dict()}
    block = "stages.2.1."
    parts = ("expand", "depthwise", "project")
    assert {name for name in names if name.startswith(block)} == {
        f"{block}{part}{suffix}" for part in parts for suffix in ("", "_bn")
    }
    assert {"stem", "stem_bn", "stages.0.0.depthwise"} <= names


def test_batch_norm_is_tensorflows() -> None:
    norms = [m for m in build().modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@torch.no_grad()
def test_activations_stay_between_0_and_6() -> None:
    torch.manual_seed(0)
    model = efficientnet_lite0().eval()
    seen: list[float] = []
    model.relu6.register_forward_hook(lambda _, __, y: seen.extend([y.min(), y.max()]))
    image = 50 * torch.randn(1, 3, 33, 33, generator=torch.Generator().manual_seed(0))
    assert model(image).shape == (1, 320, 5, 5)
    assert min(seen) == 0
    assert max(seen) == 6
