"""The original networks: files written under Caffe's names come back as the same network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from atrous.models import DeepLab
from atrous.network_options import NetworkOptions
from atrous.preprocess import Preprocess
from atrous.weights.convert import Conversion, read_foreign

MakeModel = Callable[..., DeepLab]
SameLogits = Callable[[Conversion, DeepLab, Tensor], None]
Blobs = dict[str, dict[int, Tensor]]

BATCH_WEIGHT = 4.0  # a power of two, so that the division is exact


def resnet_blobs(model: DeepLab, head: str) -> Blobs:
    """Name the tensors of a ResNet as the authors' prototxt does; `head` may hold {branch}."""
    blobs: Blobs = {}
    for key, tensor in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            layer, index = resnet_blob(key, head)
            scaled = tensor * BATCH_WEIGHT if layer.startswith("bn") else tensor
            blobs.setdefault(layer, {})[index] = scaled
    for layer, tensors in blobs.items():
        if layer.startswith("bn"):
            tensors[2] = torch.tensor([BATCH_WEIGHT])
    return blobs


def resnet_blob(key: str, head: str) -> tuple[str, int]:
    parts = key.split(".")
    tail = parts[-1]
    if parts[0] == "head":
        return head.format(branch=parts[2]), ["weight", "bias"].index(tail)
    if len(parts) == 3:
        place, unit = "conv1", parts[1]
    else:
        stage, block = int(parts[1][5:]) + 1, int(parts[2])
        letter = "abc"[block] if stage in (2, 5) else "a" if block == 0 else f"b{block}"
        unit = {"downsample.0": "conv", "downsample.1": "bn"}.get(".".join(parts[3:5]), parts[3])
        branch = "1" if parts[3] == "downsample" else f"2{'abc'[int(unit[-1]) - 1]}"
        place = f"{stage}{letter}_branch{branch}"
    if unit.startswith("conv"):
        return ("conv1" if place == "conv1" else f"res{place}"), 0
    kind = "bn" if tail.startswith("running") else "scale"
    joint = "_" if place == "conv1" else ""
    return kind + joint + place, int(tail in ("running_var", "bias"))


def vgg_blobs(model: DeepLab, branch_names: list[str]) -> Blobs:
    blobs: Blobs = {}
    for key, tensor in model.state_dict().items():
        *_, layer, tail = key.split(".")
        if key.startswith("head"):
            layer = (layer + "_voc12" if layer == "fc8" else layer) + branch_names[int(key[14])]
        blobs.setdefault(layer, {})[["weight", "bias"].index(tail)] = tensor
    return blobs


def varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


def chunk(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def write(path: Path, blobs: Blobs, *, first_format: bool = False) -> None:
    """Write the bytes that Caffe writes; field numbers as in its caffe.proto."""
    layer_field, name_field, blob_field = (2, 4, 6) if first_format else (100, 1, 7)
    with path.open("wb") as file:
        file.write(chunk(1, b"net"))
        for name, tensors in blobs.items():
            layer = chunk(name_field, name.encode())
            for _, tensor in sorted(tensors.items()):
                shape = (1,) * (4 - tensor.ndim) * first_format + tuple(tensor.shape)
                if first_format:
                    sizes = b"".join(varint(i << 3) + varint(n) for i, n in enumerate(shape, 1))
                else:
                    sizes = chunk(7, chunk(1, b"".join(map(varint, shape))))
                layer += chunk(blob_field, sizes + chunk(5, tensor.numpy().tobytes()))
            file.write(chunk(layer_field, layer))


def test_resnet_with_aspp_is_the_same_network(
    tmp_path: Path, make_model: MakeModel, same_logits: SameLogits, image: Tensor
) -> None:
    original = make_model(name="deeplabv2_resnet50", num_classes=5, head="aspp")
    blobs = resnet_blobs(original, "fc1_voc12_c{branch}")
    for layer in ("conv1", "bn2a_branch1", "scale2a_branch1", "fc1_voc12_c0"):
        for scale in ("_res075", "_res05"):
            blobs[layer + scale] = {0: torch.full((2,), torch.nan)}
    path = tmp_path / "train_iter_20000.caffemodel"
    write(path, blobs)
    conversion = read_foreign(path)
    same_logits(conversion, original, image)
    assert conversion.options == {
        "name": "deeplabv2_resnet50",
        "num_classes": 5,
        "head": "aspp",
        "atrous_rates": (6, 12, 18, 24),
        "stride_in_1x1": True,
        "align_corners": True,
    }
    assert conversion.preprocess == Preprocess("bgr", (104.008, 116.669, 122.675), (1, 1, 1))
    assert conversion.preprocess.padding == "mean_to_8k1"
    assert conversion.crf is not None
    assert conversion.crf.bilateral_xy_std == 67
    assert not conversion.is_head_new
    assert conversion.notes == ()


@pytest.mark.parametrize("name", ["train2_iter_20000.caffemodel", "init.caffemodel"])
def test_resnet_with_one_1x1_head_and_imagenet_classifier(
    tmp_path: Path, make_model: MakeModel, same_logits: SameLogits, image: Tensor, name: str
) -> None:
    original = make_model(name="deeplabv2_resnet50", num_classes=4, head="conv1x1")
    blobs = resnet_blobs(original, "fc1_coco")
    blobs["fc1000"] = {0: torch.zeros(2, 3), 1: torch.zeros(2)}
    write(tmp_path / name, blobs)
    conversion = read_foreign(tmp_path / name)
    same_logits(conversion, original, image)
    assert conversion.options["head"] == "conv1x1"
    assert conversion.notes[0] == "the ImageNet classifier (fc1000) is dropped"
    assert any(
        "trained on train and val together" in note for note in conversion.notes
    ) == name.startswith("train2")


def test_every_block_of_resnet101_has_its_place() -> None:
    from atrous.weights.checkpoint import empty_model
    from atrous.weights.convert.caffe import _resnet_keys

    model = empty_model(NetworkOptions(name="deeplabv2_resnet101", num_classes=2))
    keys = [key for key in model.state_dict() if not key.endswith("num_batches_tracked")]
    for key in keys:
        layer, index = resnet_blob(key, "fc1_voc12_c{branch}")
        assert _resnet_keys(layer)[index] == key
    assert resnet_blob("backbone.layer3.22.conv2.weight", "") == ("res4b22_branch2b", 0)


@pytest.mark.parametrize("first_format", [False, True])
def test_vgg_largefov_is_the_same_network(
    tmp_path: Path,
    make_model: MakeModel,
    same_logits: SameLogits,
    image: Tensor,
    first_format: bool,
) -> None:
    original = make_model(name="deeplabv2_vgg16", num_classes=21, head="largefov")
    path = tmp_path / "vgg.caffemodel"
    write(path, vgg_blobs(original, [""]), first_format=first_format)
    conversion = read_foreign(path)
    same_logits(conversion, original, image)
    assert conversion.options == {
        "name": "deeplabv2_vgg16",
        "num_classes": 21,
        "head": "largefov",
        "atrous_rates": (12,),
        "align_corners": True,
    }
    assert conversion.crf is not None
    assert conversion.crf.spatial_xy_std == 2


def test_vgg_aspp_is_the_same_network(
    tmp_path: Path, make_model: MakeModel, same_logits: SameLogits, image: Tensor
) -> None:
    original = make_model(name="deeplabv2_vgg16", head="aspp")
    path = tmp_path / "vgg.caffemodel"
    write(path, vgg_blobs(original, ["_1", "_2", "_3", "_4"]))
    conversion = read_foreign(path)
    same_logits(conversion, original, image)
    assert conversion.options["atrous_rates"] == (6, 12, 18, 24)
    assert "6, 12, 18, 24 (ASPP-L) are assumed" in conversion.notes[0]
    small = read_foreign(path, rates=(2, 4, 8, 12))
    assert small.options["atrous_rates"] == (2, 4, 8, 12)
    assert small.notes == ()


def tiny_batch_norm(weight: float) -> Blobs:
    return {
        "conv1": {0: torch.zeros(64, 3, 7, 7)},
        "bn_conv1": {
            0: torch.full((64,), 6.0),
            1: torch.full((64,), 3.0),
            2: torch.tensor([weight]),
        },
    }


@pytest.mark.parametrize(("weight", "mean"), [(3.0, 2.0), (0.0, 0.0)])
def test_batch_statistics_are_divided_by_their_weight(weight: float, mean: float) -> None:
    from atrous.weights.convert.caffe import _batch_statistics

    blobs = [tensor.numpy() for tensor in tiny_batch_norm(weight)["bn_conv1"].values()]
    np.testing.assert_allclose(_batch_statistics(blobs)[0], mean, rtol=1e-6)
    np.testing.assert_allclose(_batch_statistics(blobs)[1], mean / 2, rtol=1e-6)


def test_faults_are_listed_under_the_files_names(tmp_path: Path, make_model: MakeModel) -> None:
    blobs = resnet_blobs(make_model(name="deeplabv2_resnet50"), "fc1_voc12")
    del blobs["scale5c_branch2c"]
    del blobs["bn_conv1"][2]
    blobs["conv1"][1] = torch.zeros(64)
    blobs["fc9"] = {0: torch.zeros(1)}
    blobs["res2a_branch1"][0] = torch.zeros(256, 64, 3, 3)
    path = tmp_path / "net.caffemodel"
    write(path, blobs)
    with pytest.raises(ValueError, match="does not fit deeplabv2_resnet50 with 3 cl") as caught:
        read_foreign(path)
    message = str(caught.value)
    assert "2 missing (backbone.layer4.2.bn3.weight, backbone.layer4.2.bn3.bias)" in message
    assert re.search(r"2 unexpected \(conv1\[1\], fc9\[0\]\)", message)
    assert "1 of wrong shape (res2a_branch1[0] is 256x64x3x3, needed 256x64x1x1)" in message


def test_other_networks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "alexnet.caffemodel"
    write(path, {"conv1": {0: torch.zeros(96, 3, 11, 11)}, "fc8": {0: torch.zeros(10, 4)}})
    with pytest.raises(ValueError, match="has the layers conv1, fc8 …; supported are DeepLab's"):
        read_foreign(path)


@pytest.mark.parametrize("scores", [None, torch.zeros(1000, 1024, 1, 1)])
def test_vgg_cut_down_keeps_fc6_and_fc7_under_a_new_fc8(
    tmp_path: Path, make_model: MakeModel, scores: Tensor | None
) -> None:
    original = make_model(name="deeplabv2_vgg16", num_classes=4, head="largefov")
    blobs = vgg_blobs(original, [""])
    del blobs["fc8_voc12"]
    if scores is not None:
        blobs["fc8"] = {0: scores, 1: torch.zeros(1000)}
    path = tmp_path / "vgg16_20M.caffemodel"
    write(path, blobs)
    conversion = read_foreign(path, num_classes=4)
    assert conversion.is_head_new
    assert conversion.options["head"] == "largefov"
    for key, tensor in original.state_dict().items():
        assert torch.equal(conversion.state[key], tensor) == (".fc8." not in key), key


def test_vggs_whole_classifier_is_dropped(tmp_path: Path, make_model: MakeModel) -> None:
    blobs = vgg_blobs(make_model(name="deeplabv2_vgg16", head="largefov"), [""])
    blobs = {name: blob for name, blob in blobs.items() if name.startswith("conv")}
    blobs["fc6"] = {0: torch.zeros(8, 512 * 7 * 7), 1: torch.zeros(8)}
    blobs["fc7"] = {0: torch.zeros(8, 8), 1: torch.zeros(8)}
    blobs["fc8"] = {0: torch.zeros(1000, 8), 1: torch.zeros(1000)}
    path = tmp_path / "VGG_ILSVRC_16_layers.caffemodel"
    write(path, blobs)
    conversion = read_foreign(path)
    assert conversion.is_head_new
    assert "the ImageNet classifier (fc6, fc7, fc8) is dropped" in conversion.notes


def test_vgg_with_missing_layers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vgg16_20M.caffemodel"
    write(path, {"conv1_1": {0: torch.zeros(64, 3, 3, 3), 1: torch.zeros(64)}})
    with pytest.raises(ValueError, match=r"24 missing \(backbone.conv1_2.weight"):
        read_foreign(path)


def test_resnets_of_other_depth_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    write(path, {**tiny_batch_norm(1.0), "res2a_branch2a": {0: torch.zeros(64, 64, 1, 1)}})
    with pytest.raises(ValueError, match="is a ResNet of 1/0/0/0 basic blocks; supported are"):
        read_foreign(path)
