"""Names and options: what is built, and what is refused with which words."""

from __future__ import annotations

import builtins
import json
import os
from typing import Any

import pytest
import torch

from atrous.models import create_model, list_models
from atrous.network_options import NetworkOptions
from atrous.tables import from_table, to_table


def test_models_are_listed_by_name() -> None:
    assert list_models() == [
        "deeplabv2_efficientnet_lite0",
        "deeplabv2_resnet101",
        "deeplabv2_resnet18",
        "deeplabv2_resnet50",
        "deeplabv2_vgg16",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deeplabv2_resnet102", r"'deeplabv2_resnet102'; did you mean deeplabv2_resnet101 or"),
        ("resnet101", r"did you mean deeplabv2_resnet101"),
        ("deeplabv2_vgg", r"did you mean deeplabv2_vgg16"),
        ("?", r"no network is called '\?'; choose from deeplabv2_resnet18, deeplabv2_"),
    ],
)
def test_unknown_network_names_the_near_ones(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(name, num_classes=2)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("aspp_l", r"no head is called 'aspp_l'; did you mean aspp"),
        ("large_fov", r"did you mean largefov"),
        ("?", r"choose from aspp, aspp_s, largefov, conv1x1, aspp_concat"),
    ],
)
def test_unknown_head_names_the_near_ones(head: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model("deeplabv2_resnet18", num_classes=2, head=head)


@pytest.mark.parametrize("num_classes", [0, -1, 2.0, "21", True, None])
def test_number_of_classes_is_a_whole_number_from_1(num_classes: Any) -> None:
    with pytest.raises(ValueError, match=r"num_classes is .*; it must be a whole number from 1 up"):
        create_model("deeplabv2_resnet18", num_classes=num_classes)


@pytest.mark.parametrize("output_stride", [4, 32, "8", None])
def test_output_stride_is_8_or_16(output_stride: Any) -> None:
    with pytest.raises(ValueError, match=r"output_stride is .*; it must be 8 or 16"):
        create_model("deeplabv2_resnet18", num_classes=2, output_stride=output_stride)


def test_upsampling_is_bilinear_or_transposed() -> None:
    with pytest.raises(ValueError, match="upsampling is 'nearest'; it must be 'bilinear' or"):
        create_model("deeplabv2_resnet18", num_classes=2, upsampling="nearest")  # type: ignore


@pytest.mark.parametrize(
    "scales", [(), (0.5, 1.0), (0.75,), (1, 0), (1, -0.5), (1, 9), (1, float("nan")), 1.0, ("a",)]
)
def test_scales_start_with_1_and_are_positive(scales: Any) -> None:
    with pytest.raises(ValueError, match=r"scales is .*; give 1 first, then factors up to 8"):
        create_model("deeplabv2_resnet18", num_classes=2, scales=scales)


@pytest.mark.parametrize("rates", [(), (0,), (-6, 12), (6.0,), ("6",), (True,), 6, "612"])
def test_rates_are_whole_numbers_from_1(rates: Any) -> None:
    with pytest.raises(ValueError, match=r"atrous_rates is .*; give whole numbers from 1 up"):
        create_model("deeplabv2_resnet18", num_classes=2, atrous_rates=rates)


def test_head_without_branches_takes_no_rates() -> None:
    with pytest.raises(ValueError, match="'conv1x1' has no atrous branches; leave atrous_rates"):
        create_model("deeplabv2_resnet18", num_classes=2, head="conv1x1", atrous_rates=(6,))


@pytest.mark.parametrize("stride_in_1x1", [True, False])
@pytest.mark.parametrize(
    "name", ["deeplabv2_resnet18", "deeplabv2_vgg16", "deeplabv2_efficientnet_lite0"]
)
def test_stride_place_is_for_bottlenecks(name: str, stride_in_1x1: bool) -> None:
    with pytest.raises(ValueError, match=f"{name} has no bottlenecks; leave out stride_in_1x1"):
        create_model(name, num_classes=2, stride_in_1x1=stride_in_1x1)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "deeplabv2_resnet18"},
        {"name": "deeplabv2_resnet50", "stride_in_1x1": False, "head": "aspp_concat"},
        {"name": "deeplabv2_vgg16", "atrous_rates": [3, 6], "align_corners": False},
        {
            "name": "deeplabv2_efficientnet_lite0",
            "output_stride": 16,
            "upsampling": "transposed",
            "scales": (1, 0.5),
        },
    ],
)
def test_options_survive_json_and_build_the_same_network(options: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = create_model(num_classes=2, **options)
        again = create_model(
            **from_table(NetworkOptions, json.loads(json.dumps(to_table(model.options))))
        )
    assert "scales" not in model.options
    assert str(again) == str(model)
    assert again.options == model.options
    assert again.align_corners == model.align_corners
    assert again.output_stride == model.output_stride
    assert again.atrous_rates == model.atrous_rates


def test_defaults_are_the_papers_network() -> None:
    with torch.device("meta"):
        model = create_model("deeplabv2_resnet101", num_classes=21)
    assert model.options == {
        "name": "deeplabv2_resnet101",
        "num_classes": 21,
        "head": "aspp",
        "atrous_rates": None,
        "output_stride": 8,
        "align_corners": True,
        "upsampling": "bilinear",
        "stride_in_1x1": True,
    }
    assert model.scales == (1.0,)
    assert model.atrous_rates == (6, 12, 18, 24)
    assert model.training


def test_equal_seeds_give_equal_weights() -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(create_model("deeplabv2_efficientnet_lite0", num_classes=2).state_dict())
    first, second, third = states
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["backbone.stem.weight"], third["backbone.stem.weight"])


@pytest.mark.parametrize("name", list_models())
def test_building_opens_no_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **_: Any) -> None:
        raise AssertionError(f"create_model opened {args[0]}")

    with torch.device("meta"):
        create_model(name, num_classes=2)  # modules that are imported on first use
        monkeypatch.setattr(builtins, "open", refuse)
        monkeypatch.setattr(os, "open", refuse)
        create_model(name, num_classes=2)
