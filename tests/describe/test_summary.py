"""The table of layers: equal to what a real run does, and to the published totals."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from atrous.describe import Block, Summary, summarise
from atrous.models import DeepLab, create_model, list_models

HEADS = ("aspp", "aspp_s", "largefov", "conv1x1", "aspp_concat")
MSC = (1.0, 0.75, 0.5)


def summary_of(name: str, *size_hw: int, **options: Any) -> Summary:
    with torch.device("meta"):
        model = create_model(name, 21, **options)
    return summarise(model, (size_hw[0], size_hw[-1]))


def block(summary: Summary, name: str) -> Block:
    return next(block for block in summary.blocks if block.name == name)


@pytest.mark.parametrize(
    ("size", "scales", "gmacs"),
    [(513, (1.0,), 188.9), (513, MSC, 344.9), (321, (1.0,), 75.1), (321, MSC, 137.8)],
)
def test_arithmetic_of_resnet101_is_the_published_one(
    size: int, scales: tuple[float, ...], gmacs: float
) -> None:
    summary = summary_of("deeplabv2_resnet101", size, scales=scales)
    assert round(summary.macs / 1e9, 1) == gmacs
    assert summary.parameters == 44_048_532


@pytest.mark.parametrize(
    ("name", "head"),
    [
        *(("deeplabv2_resnet18", head) for head in HEADS),
        ("deeplabv2_vgg16", "largefov"),
        ("deeplabv2_efficientnet_lite0", "conv1x1"),
    ],
)
@torch.no_grad()
def test_arithmetic_is_what_torch_counts(name: str, head: Any) -> None:
    model = create_model(name, 3, head=head, upsampling="transposed", scales=(1, 0.5)).eval()
    with FlopCounterMode(display=False) as counter:
        model.upsample(model(torch.zeros(1, 3, 33, 41)), (33, 41))
    assert summarise(model, (33, 41)).macs * 2 == counter.get_total_flops()


@pytest.mark.parametrize("name", list_models())
def test_rows_add_up_to_the_totals(name: str) -> None:
    summary = summary_of(name, 65, head="aspp_concat", upsampling="transposed")
    for rows in (summary.layers, summary.blocks):
        assert sum(row.parameters for row in rows) == summary.parameters
        assert sum(row.macs for row in rows) == summary.macs
    assert [layer for b in summary.blocks for layer in b.layers] == list(summary.layers)


@pytest.mark.parametrize(
    "name", ["deeplabv2_resnet18", "deeplabv2_vgg16", "deeplabv2_efficientnet_lite0"]
)
@torch.no_grad()
def test_shapes_are_those_of_a_real_run(name: str) -> None:
    model = create_model(name, 3, head="aspp_concat").eval()
    shapes: dict[str, tuple[int, ...]] = {}
    for path, module in model.named_modules():
        module.register_forward_hook(
            lambda _, __, output, path=path: shapes.update({path: tuple(output.shape[1:])})
        )
    model(torch.zeros(1, 3, 47, 56))
    summary = summarise(model, (47, 56))
    assert summary.output_hw == shapes[""][1:]
    assert {layer.name: layer.output for layer in summary.layers} == {
        layer.name: shapes[layer.name] for layer in summary.layers
    }
    assert summary.scales[0].scores_hw == shapes["head"][1:]


def let_every_pixel_count_(model: DeepLab) -> DeepLab:
    """Make weights positive and pooling linear: no path cancels, saturates or is passed over."""
    if hasattr(model.backbone, "maxpool"):
        model.backbone.maxpool = nn.AvgPool2d(3, stride=2, padding=1, ceil_mode=True)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.5 / module.weight[0].numel())
    return model.double().eval()


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("name", ["deeplabv2_resnet18", "deeplabv2_efficientnet_lite0"])
def test_receptive_fields_are_the_pixels_that_have_a_gradient(
    name: str, output_stride: Any
) -> None:
    model = let_every_pixel_count_(
        create_model(name, 1, head="aspp_s", output_stride=output_stride)
    )
    features: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        module.register_forward_hook(lambda _, __, y, path=path: features.update({path: y}))
    image = torch.ones(1, 3, 1, 1601, dtype=torch.float64, requires_grad=True)
    model(image)
    summary = summarise(model, (1, 1601))
    ends = [b for b in summary.blocks if b.container == "head.branches" or b.name[-2:] == ".0"]
    assert len(ends) >= 7
    for row in ends[::2]:
        centre = features[row.name][0, 0, 0, features[row.name].shape[-1] // 2]
        (gradient,) = torch.autograd.grad(centre, image, retain_graph=True)
        seen = (gradient[0, 0, 0] != 0).sum().item()
        assert (row.name, row.receptive_field) == (row.name, seen)


def test_receptive_fields_of_resnet101() -> None:
    summary = summary_of("deeplabv2_resnet101", 513)
    assert block(summary, "backbone.layer4.1-2").receptive_field == 1027
    fields = [b.receptive_field for b in summary.blocks if b.container == "head.branches"]
    assert fields == [1027 + 2 * 8 * rate for rate in (6, 12, 18, 24)]


def test_image_pooling_sees_the_whole_image() -> None:
    summary = summary_of("deeplabv2_resnet18", 65, head="aspp_concat")
    pooled = block(summary, "head.pooling")
    assert (pooled.stride, pooled.receptive_field) == (None, None)
    projected = block(summary, "head.project")
    assert (projected.stride, projected.receptive_field) == (8, None)
    assert block(summary, "head.pointwise").receptive_field == 435


def test_equal_blocks_are_gathered() -> None:
    summary = summary_of("deeplabv2_resnet101", 513)
    rows = [(b.name, b.count, b.stride, b.dilation, b.shortcut) for b in summary.blocks[2:-4]]
    assert rows == [
        ("backbone.layer1.0", 1, 4, 1, "projection"),
        ("backbone.layer1.1-2", 2, 4, 1, "identity"),
        ("backbone.layer2.0", 1, 8, 1, "projection"),
        ("backbone.layer2.1-3", 3, 8, 1, "identity"),
        ("backbone.layer3.0", 1, 8, 2, "projection"),
        ("backbone.layer3.1-22", 22, 8, 2, "identity"),
        ("backbone.layer4.0", 1, 8, 4, "projection"),
        ("backbone.layer4.1-2", 2, 8, 4, "identity"),
    ]
    assert summary.blocks[0].name == "backbone.conv1, bn1"


def test_blocks_of_lite0_say_where_a_shortcut_is() -> None:
    blocks = summary_of("deeplabv2_efficientnet_lite0", 65).blocks
    stage = [(b.name, b.count, b.shortcut) for b in blocks if b.container.endswith("stages.5")]
    assert stage == [("backbone.stages.5.0", 1, None), ("backbone.stages.5.1-3", 3, "identity")]


def test_branches_of_vgg_are_rows_of_their_own() -> None:
    summary = summary_of("deeplabv2_vgg16", 65, head="aspp_s")
    branches = [b for b in summary.blocks if b.container == "head.branches"]
    assert [(b.kind, b.dilation, b.count) for b in branches] == [
        ("fc6-fc7-fc8", rate, 1) for rate in (2, 4, 8, 12)
    ]


def test_scales_tell_their_sizes() -> None:
    scales = summary_of("deeplabv2_resnet18", 321, 513, scales=MSC).scales
    assert [(s.scale, s.size_hw, s.scores_hw) for s in scales] == [
        (1.0, (321, 513), (41, 65)),
        (0.75, (241, 385), (31, 49)),
        (0.5, (161, 257), (21, 33)),
    ]


def test_learned_upsampling_is_a_layer() -> None:
    layer = summary_of("deeplabv2_resnet18", 65, upsampling="transposed").layers[-1]
    assert (layer.name, layer.kind) == ("learned_upsampling", "transposed 15x15")
    assert (layer.output, layer.stride) == ((21, 65, 65), 1)
    assert layer.parameters == 21 * 21 * 15 * 15


def test_the_network_stays_as_it_was() -> None:
    model = create_model("deeplabv2_resnet18", 3, scales=(1, 0.5)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    summarise(model, (65, 65))
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_hooks_of_the_network_do_not_run() -> None:
    model = create_model("deeplabv2_resnet18", 3)
    calls: list[nn.Module] = []
    model.backbone.register_forward_hook(lambda module, *_: calls.append(module))
    model.head.register_forward_pre_hook(lambda module, *_: calls.append(module))
    summarise(model, (65, 65))
    assert not calls


def test_one_pixel_has_a_summary() -> None:
    summary = summary_of("deeplabv2_resnet18", 1, scales=MSC)
    assert summary.output_hw == (1, 1)


def test_json_is_plain() -> None:
    summary = summary_of("deeplabv2_vgg16", 65, scales=MSC)
    numbers = json.loads(json.dumps(summary.to_json()))
    assert numbers["layers"][0] == {
        "name": "backbone.conv1_1",
        "kind": "conv 3x3",
        "output": [64, 65, 65],
        "stride": 1,
        "dilation": 1,
        "receptive_field": 3,
        "parameters": 1792,
        "macs": 64 * 65 * 65 * 27,
    }
    assert numbers["scales"][1]["scale"] == 0.75


@pytest.mark.parametrize("size_hw", [(0, 5), (5, -1)])
def test_empty_images_are_refused(size_hw: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="size is .*; rows and columns start at 1"):
        summary_of("deeplabv2_resnet18", *size_hw)
