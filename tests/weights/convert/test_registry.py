"""The door of the converter: what it recognises and how it refuses the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import atrous
from atrous.models import DeepLab
from atrous.weights.convert import convert_weights, read_foreign
from atrous.weights.convert.classes import LABEL_SETS

MakeModel = Callable[..., DeepLab]


def test_public_name_gives_state_and_options_of_create_model(
    tmp_path: Path, make_model: MakeModel
) -> None:
    torch.save(make_model(name="deeplabv2_resnet18").backbone.state_dict(), tmp_path / "net.pth")
    state, options = atrous.convert_weights(tmp_path / "net.pth")
    model = atrous.create_model(**options, scales=(1.0, 0.5))
    model.load_state_dict(state)
    assert "scales" not in options


def test_suffix_does_not_matter_for_torch_files(tmp_path: Path, make_model: MakeModel) -> None:
    path = tmp_path / "net.weights"
    torch.save(make_model(name="deeplabv2_resnet18").backbone.state_dict(), path)
    assert read_foreign(str(path)).layout == "torchvision ResNet"


def test_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone.pth does not exist; give a .caffemodel or"):
        convert_weights(tmp_path / "gone.pth")


def test_own_files_need_no_conversion(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="needs no conversion"):
        convert_weights(path)


def test_unknown_layout_lists_names_found_and_understood(tmp_path: Path) -> None:
    torch.save({f"features.{i}.weight": torch.zeros(1) for i in range(9)}, tmp_path / "x.pth")
    with pytest.raises(
        ValueError, match=r"of no known layout: it has features.0.weight, "
    ) as caught:
        convert_weights(tmp_path / "x.pth")
    message = str(caught.value)
    assert "features.3.weight …; supported are kazuto1011" in message
    assert "features.4.weight" not in message
    assert "AdaptSegNet" in message


def test_class_count_must_be_the_files(tmp_path: Path, make_model: MakeModel) -> None:
    state = {
        "Scale."
        + key.removeprefix("backbone.").replace("head.branches", "layer5.conv2d_list"): value
        for key, value in make_model(name="deeplabv2_resnet50").state_dict().items()
    }
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(ValueError, match="scores 3 classes, but 21 are asked for"):
        convert_weights(tmp_path / "net.pth", num_classes=21)
    assert convert_weights(tmp_path / "net.pth", num_classes=3)[1]["num_classes"] == 3


def test_known_classes_are_complete() -> None:
    assert {name: labels.num_classes for name, labels in LABEL_SETS.items()} == {
        "voc": 21,
        "pascal_context": 60,
        "person_part": 7,
        "cityscapes": 19,
        "coco_stuff": 182,
        "ade20k": 150,
        "camvid": 11,
    }
    assert LABEL_SETS["voc"].palette[15] == (192, 128, 128)  # person
    for name, labels in LABEL_SETS.items():
        assert len(set(labels.names)) == labels.num_classes
        # The benchmark itself gives road and skyscraper one colour.
        assert len(set(labels.palette)) == labels.num_classes - (name == "ade20k")
