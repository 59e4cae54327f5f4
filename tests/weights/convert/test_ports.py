"""PyTorch ports: files under each project's names come back as the same network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from atrous.models import DeepLab, create_model
from atrous.network_options import NetworkOptions
from atrous.weights.checkpoint import empty_model
from atrous.weights.convert import Conversion, convert_weights, read_foreign

MakeModel = Callable[..., DeepLab]
SameLogits = Callable[[Conversion, DeepLab, Tensor], None]
State = dict[str, Tensor]

TESTS = Path(__file__).resolve().parents[2]


def kazuto_name(key: str) -> str:
    parts = key.split(".")
    if parts[0] == "head":
        return f"aspp.c{parts[2]}.{parts[3]}"
    if len(parts) == 3:
        return f"layer1.conv1.{parts[1][:-1]}.{parts[2]}"
    block = f"layer{int(parts[1][5:]) + 1}.block{int(parts[2]) + 1}"
    if parts[3] == "downsample":
        return f"{block}.shortcut.{('conv', 'bn')[int(parts[4])]}.{parts[5]}"
    unit = ("reduce", "conv3x3", "increase")[int(parts[3][-1]) - 1]
    return f"{block}.{unit}.{parts[3][:-1]}.{parts[4]}"


def isht7_name(key: str, head: str = "layer5") -> str:
    if key.startswith("head."):
        return key.replace("head.branches", f"{head}.conv2d_list")
    return key.removeprefix("backbone.")


@pytest.fixture(scope="module")
def resnet50(make_model: MakeModel) -> DeepLab:
    return make_model(name="deeplabv2_resnet50", num_classes=5, head="aspp")


def saved(path: Path, state: State) -> Path:
    torch.save(state, path)
    return path


@pytest.mark.parametrize("prefix", ["", "base.", "module.base."])
def test_kazuto1011(
    tmp_path: Path, resnet50: DeepLab, same_logits: SameLogits, image: Tensor, prefix: str
) -> None:
    state = {prefix + kazuto_name(key): value for key, value in resnet50.state_dict().items()}
    if not prefix:  # as files of torch before 0.4.1
        state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    conversion = read_foreign(saved(tmp_path / "net.pth", state))
    same_logits(conversion, resnet50, image)
    assert conversion.layout == "kazuto1011/deeplab-pytorch"
    assert conversion.preprocess.padding == "none"
    assert conversion.preprocess.channel_order == "bgr"
    assert conversion.options == {
        "name": "deeplabv2_resnet50",
        "num_classes": 5,
        "head": "aspp",
        "atrous_rates": (6, 12, 18, 24),
        "stride_in_1x1": True,
        "align_corners": False,
    }


def test_kazuto1011_v1(
    tmp_path: Path, make_model: MakeModel, same_logits: SameLogits, image: Tensor
) -> None:
    original = make_model(name="deeplabv2_resnet50", num_classes=91)
    state = {
        kazuto_name(key).replace("aspp.c0", "fc"): value
        for key, value in original.state_dict().items()
    }
    path = saved(tmp_path / "coco_init.pth", state)
    conversion = read_foreign(path)
    same_logits(conversion, original, image)
    assert conversion.options["head"] == "conv1x1"
    with pytest.raises(
        ValueError, match="has a 1x1 head without atrous branches; leave out the rates"
    ):
        read_foreign(path, rates=(6,))


def test_kazuto1011_gives_the_reference_outputs(
    load_oracle: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    reference = load_oracle("reference_weights")
    state = {
        f"base.{key}": torch.from_numpy(np.asarray(value))
        for key, value in reference.reference_state().items()
    }
    state, options = convert_weights(saved(tmp_path / "net.pth", state))
    model = empty_model(NetworkOptions(**options))
    model.load_state_dict(state, assign=True)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(reference.image(97, 129, 3, 1))).numpy()
    with np.load(TESTS / "golden" / "network" / "kazuto_97x129.npz") as arrays:
        expected = arrays["base"]
    assert np.abs(logits - expected).max() <= 1e-4 * expected.std()


def test_isht7(tmp_path: Path, resnet50: DeepLab, same_logits: SameLogits, image: Tensor) -> None:
    state = {f"Scale.{isht7_name(key)}": value for key, value in resnet50.state_dict().items()}
    conversion = read_foreign(saved(tmp_path / "net.pth", state))
    same_logits(conversion, resnet50, image)
    assert conversion.layout == "isht7/pytorch-deeplab-resnet"
    assert conversion.options["align_corners"] is True
    assert conversion.options["stride_in_1x1"] is True
    assert conversion.options["atrous_rates"] == (6, 12, 18, 24)
    assert conversion.preprocess.padding == "mean_to_8k1"
    assert conversion.notes == ()


def with_unused_branches(state: State, head: str) -> State:
    """Add the third and fourth branch, which the family's classifier never reaches."""
    unused = {
        f"{head}.conv2d_list.{index}.{tail}": torch.full_like(
            state[f"{head}.conv2d_list.0.{tail}"], 100
        )
        for index in (2, 3)
        for tail in ("weight", "bias")
    }
    return {**state, **unused}


@pytest.fixture(scope="module")
def two_rates(make_model: MakeModel) -> DeepLab:
    return make_model(name="deeplabv2_resnet50", num_classes=19, head="aspp", atrous_rates=(6, 12))


def multi_level(model: DeepLab, auxiliary_channels: int = 1024) -> State:
    state = {isht7_name(key, "layer6"): value for key, value in model.state_dict().items()}
    for index in range(4):
        state[f"layer5.conv2d_list.{index}.weight"] = torch.ones(19, auxiliary_channels, 3, 3)
        state[f"layer5.conv2d_list.{index}.bias"] = torch.ones(19)
    return with_unused_branches(state, "layer6")


def test_adaptsegnet_keeps_two_branches_and_drops_the_auxiliary_head(
    tmp_path: Path, two_rates: DeepLab, same_logits: SameLogits, image: Tensor
) -> None:
    conversion = read_foreign(saved(tmp_path / "gta.pth", multi_level(two_rates)))
    same_logits(conversion, two_rates, image)
    assert conversion.layout == "AdaptSegNet family"
    assert conversion.options["atrous_rates"] == (6, 12)
    assert conversion.options["num_classes"] == 19
    assert "auxiliary head on res4 is dropped (8 tensors" in conversion.notes[0]
    assert "first 2 branches are kept, at rates 6, 12" in conversion.notes[1]
    assert len(conversion.notes) == 2


def test_adaptsegnet_with_one_level_assumes_two_branches_and_says_so(
    tmp_path: Path, two_rates: DeepLab, same_logits: SameLogits, image: Tensor
) -> None:
    state = {isht7_name(key): value for key, value in two_rates.state_dict().items()}
    path = saved(tmp_path / "single.pth", with_unused_branches(state, "layer5"))
    conversion = read_foreign(path)
    same_logits(conversion, two_rates, image)
    assert "convert it with the rates 6,12,18,24" in conversion.notes[-1]
    assert not any("also be of" in n for n in read_foreign(path, rates=(6, 12)).notes)


def test_given_rates_keep_all_four_branches(
    tmp_path: Path, resnet50: DeepLab, same_logits: SameLogits, image: Tensor
) -> None:
    state = {isht7_name(key): value for key, value in resnet50.state_dict().items()}
    path = saved(tmp_path / "bare.pth", state)
    conversion = read_foreign(path, rates=(6, 12, 18, 24))
    same_logits(conversion, resnet50, image)
    assert conversion.notes == ()
    with pytest.raises(ValueError, match="has 4 atrous branches but 5 rates were given"):
        read_foreign(path, rates=(1, 2, 3, 4, 5))


def test_two_heads_on_the_last_stage_are_refused(tmp_path: Path, two_rates: DeepLab) -> None:
    path = saved(tmp_path / "clan.pth", multi_level(two_rates, auxiliary_channels=2048))
    with pytest.raises(
        ValueError, match=r"reads 2048 channels, but .* auxiliary head on res4 .1024."
    ):
        read_foreign(path)


def test_unusual_number_of_branches_needs_rates(tmp_path: Path, two_rates: DeepLab) -> None:
    state = {kazuto_name(key): value for key, value in two_rates.state_dict().items()}
    path = saved(tmp_path / "net.pth", state)
    with pytest.raises(ValueError, match="2 atrous branches, for which no rates are known"):
        read_foreign(path)
    assert read_foreign(path, rates=(3, 9)).options["atrous_rates"] == (3, 9)


def test_one_branch_is_largefov(tmp_path: Path, make_model: MakeModel) -> None:
    original = make_model(name="deeplabv2_resnet50", head="largefov")
    state = {kazuto_name(key): value for key, value in original.state_dict().items()}
    options = read_foreign(saved(tmp_path / "net.pth", state)).options
    assert (options["head"], options["atrous_rates"]) == ("largefov", (12,))


def test_half_precision_becomes_float32(tmp_path: Path, resnet50: DeepLab) -> None:
    state = {kazuto_name(key): value.half() for key, value in resnet50.state_dict().items()}
    converted, options = convert_weights(saved(tmp_path / "net.pth", state))
    assert {value.dtype for value in converted.values()} == {torch.float32}
    create_model(**options).load_state_dict(converted)


def test_faults_are_listed_under_the_files_names(tmp_path: Path, resnet50: DeepLab) -> None:
    state: dict[str, Any] = {kazuto_name(k): v for k, v in resnet50.state_dict().items()}
    del state["layer5.block3.reduce.bn.bias"]
    state["layer6.block1.reduce.conv.weight"] = torch.zeros(1)
    state["aspp.c2.weight"] = torch.zeros(4, 2048, 3, 3)
    with pytest.raises(
        ValueError, match="does not fit deeplabv2_resnet50 with 5 classes"
    ) as caught:
        read_foreign(saved(tmp_path / "net.pth", state))
    message = str(caught.value)
    assert "1 missing (backbone.layer4.2.bn1.bias)" in message
    assert "1 unexpected (layer6.block1.reduce.conv.weight)" in message
    assert "1 of wrong shape (aspp.c2.weight is 4x2048x3x3, needed 5x2048x3x3)" in message


def test_other_depth_is_refused(tmp_path: Path, resnet50: DeepLab) -> None:
    state = {kazuto_name(k): v for k, v in resnet50.state_dict().items() if "layer3.5." not in k}
    with pytest.raises(ValueError, match="is a ResNet of 3/4/5/3 bottleneck blocks"):
        read_foreign(saved(tmp_path / "net.pth", state))
