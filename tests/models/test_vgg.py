"""VGG-16: pools that overlap, the last two without stride, conv5 dilated."""

from __future__ import annotations

import torch
from torch import nn

from atrous.models.vgg import VGG16, vgg16


def build(output_stride: int = 8) -> VGG16:
    with torch.device("meta"):
        return vgg16(output_stride=output_stride)


def test_pools_are_those_of_the_published_network() -> None:
    pools = [(p.kernel_size, p.stride, p.padding, p.ceil_mode) for p in build().pools]
    assert pools == [(3, 2, 1, True)] * 3 + [(3, 1, 1, True)] * 2


def test_conv5_alone_is_dilated() -> None:
    dilations = {
        name: module.dilation[0]
        for name, module in build().named_modules()
        if isinstance(module, nn.Conv2d)
    }
    assert {name for name, dilation in dilations.items() if dilation == 2} == {
        "conv5_1",
        "conv5_2",
        "conv5_3",
    }
    assert set(dilations.values()) == {1, 2}


def test_at_stride_16_pool4_strides_and_nothing_is_dilated() -> None:
    model = build(output_stride=16)
    assert [pool.stride for pool in model.pools] == [2, 2, 2, 2, 1]
    assert {m.dilation for m in model.modules() if isinstance(m, nn.Conv2d)} == {(1, 1)}


def test_stride_can_be_changed_and_changed_back() -> None:
    model = build()
    model.set_output_stride(16)
    with torch.device("meta"):
        assert model(torch.empty(1, 3, 321, 513)).shape == (1, 512, 21, 33)
        model.set_output_stride(8)
        assert model(torch.empty(1, 3, 321, 513)).shape == (1, 512, 41, 65)


def test_names_are_caffes() -> None:
    names = {name.split(".")[0] for name in build().state_dict()}
    depths = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
    assert names == {f"conv{s}_{i}" for s, depth in depths.items() for i in range(1, depth + 1)}


def test_the_backbone_has_vgg16s_convolutions() -> None:
    assert sum(p.numel() for p in build().parameters()) == 14_714_688


@torch.no_grad()
def test_equals_its_layers_written_out() -> None:
    torch.manual_seed(0)
    model = vgg16().double()
    image = torch.rand(1, 3, 17, 25, generator=torch.Generator().manual_seed(0)).double()
    x = image
    for stage, depth in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)):
        for i in range(1, depth + 1):
            conv = getattr(model, f"conv{stage}_{i}")
            dilation = 2 if stage == 5 else 1
            x = nn.functional.conv2d(
                x, conv.weight, conv.bias, padding=dilation, dilation=dilation
            ).clamp(min=0)
        stride = 2 if stage < 4 else 1
        x = nn.functional.max_pool2d(x, 3, stride, padding=1, ceil_mode=True)
    assert torch.equal(model(image), x)
