"""Converts the paper's own Caffe networks.

The first convolution keeps its channel order: with these weights, the network expects BGR.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import WeightsError
from ...models.heads import ASPP_RATES
from .caffe_file import read_caffemodel
from .conversion import (
    CAFFE_INPUT,
    RESNET_CRF,
    VGG_CRF,
    Conversion,
    Renamed,
    branch_weights,
    finish,
)
from .resnet import checked_rates, head_options, network_name

LAYOUT = "original Caffe DeepLab"
SCALE_COPIES = ("_res075", "_res05")  # the same weights, repeated for each further scale
LEAKY_NAME = "train2_iter"

UNIT = re.compile(r"(res|bn|scale)([2-5])([a-z])(\d*)_branch(1|2a|2b|2c)")
BRANCH_NAMES = {"2a": ("conv1", "bn1"), "2b": ("conv2", "bn2"), "2c": ("conv3", "bn3")}
RESNET_HEAD = re.compile(r"fc1_[A-Za-z]\w*?(?:_c(\d))?")
IMAGENET_HEAD = "fc1000"
IMAGENET_CLASSES = 1000
VGG_CONV = re.compile(r"conv[1-5]_[1-3]")
VGG_HEAD = re.compile(r"fc([678])(?:_[A-Za-z]\w*?)?(?:_(\d))?")

Layers = dict[str, list[NDArray[np.float32]]]


def read(path: Path, *, rates: Sequence[int] | None, num_classes: int | None) -> Conversion:
    """Convert a .caffemodel file.

    Raises:
        WeightsError: If it is damaged, or its layers are not those of a DeepLab network.
    """
    layers = read_caffemodel(path, skip=SCALE_COPIES)
    if "conv1" in layers and "bn_conv1" in layers:
        renamed, options = _resnet(layers, rates=rates, source=str(path))
        layout, crf = f"{LAYOUT}, ResNet", RESNET_CRF
    elif "conv1_1" in layers:
        renamed, options = _vgg(layers, rates=rates, source=str(path))
        layout, crf = f"{LAYOUT}, VGG-16", VGG_CRF
    else:
        raise WeightsError(
            f"{path} has the layers {', '.join([*layers][:6])} …; supported are DeepLab's "
            "ResNet (conv1, bn_conv1, res2a_branch1, …) and VGG-16 (conv1_1, …, fc6, …)"
        )
    if path.name.startswith(LEAKY_NAME):
        renamed.notes.append(
            "the authors' train2_iter files were trained on train and val together: their score on "
            "val measures memorisation"
        )
    return finish(
        renamed,
        {**options, "align_corners": True},
        source=str(path),
        layout=layout,
        preprocess=CAFFE_INPUT,
        crf=crf,
        num_classes=num_classes,
    )


def _resnet(
    layers: Layers, *, rates: Sequence[int] | None, source: str
) -> tuple[Renamed, dict[str, Any]]:
    renamed = Renamed()
    if layers.pop(IMAGENET_HEAD, None):
        renamed.notes.append(f"the ImageNet classifier ({IMAGENET_HEAD}) is dropped")
    for name, blobs in layers.items():
        _add(renamed, name, blobs, _resnet_keys(name))
    name = network_name(renamed, source=source)
    head = head_options(renamed, rates=rates, source=source)
    return renamed, {"name": name, **head, "stride_in_1x1": True}


def _resnet_keys(name: str) -> tuple[str, ...]:
    """Return the network's names of a layer's blobs; empty for an unknown layer."""
    if match := RESNET_HEAD.fullmatch(name):
        branch = f"head.branches.{match[1] or 0}"
        return f"{branch}.weight", f"{branch}.bias"
    if name == "conv1":
        kind, conv, bn = "res", "backbone.conv1", "backbone.bn1"
    elif name in ("bn_conv1", "scale_conv1"):
        kind, conv, bn = name.removesuffix("_conv1"), "", "backbone.bn1"
    elif match := UNIT.fullmatch(name):
        kind = match[1]
        # Blocks are a, b, c; in long stages a, b1, b2, …
        index = int(match[4]) if match[4] else ord(match[3]) - ord("a")
        block = f"backbone.layer{int(match[2]) - 1}.{index}"
        conv_name, bn_name = BRANCH_NAMES.get(match[5], ("downsample.0", "downsample.1"))
        conv, bn = f"{block}.{conv_name}", f"{block}.{bn_name}"
    else:
        return ()
    if kind == "res":
        return (f"{conv}.weight",)
    if kind == "bn":
        return f"{bn}.running_mean", f"{bn}.running_var"
    return f"{bn}.weight", f"{bn}.bias"


def _vgg(
    layers: Layers, *, rates: Sequence[int] | None, source: str
) -> tuple[Renamed, dict[str, Any]]:
    renamed = Renamed()
    for name, blobs in layers.items():
        _add(renamed, name, blobs, _vgg_keys(name))
    _drop_classifier(renamed)
    branches = len(branch_weights(renamed))
    if branches == 0:
        return renamed, {"name": "deeplabv2_vgg16", "head": "largefov"}
    if branches == 1:
        head = {"head": "largefov", "atrous_rates": checked_rates(rates or (12,), 1, source=source)}
        return renamed, {"name": "deeplabv2_vgg16", **head}
    if rates is None:
        renamed.notes.append(
            "the file does not contain the atrous rates; 6, 12, 18, 24 (ASPP-L) are assumed. For "
            "ASPP-S, give 2, 4, 8, 12"
        )
    rates = checked_rates(rates or ASPP_RATES, branches, source=source)
    return renamed, {"name": "deeplabv2_vgg16", "head": "aspp", "atrous_rates": rates}


def _drop_classifier(renamed: Renamed) -> None:
    """Drop the ImageNet classifier: fc8, and fc6 and fc7 too if they have their original size."""
    fc6, fc8 = (renamed.tensors.get(f"head.branches.0.{layer}.weight") for layer in ("fc6", "fc8"))
    is_original_size = fc6 is not None and fc6.shape[1:] != (512, 3, 3)
    layers = ("fc6", "fc7", "fc8") if is_original_size else ("fc8",)
    if not is_original_size and (fc8 is None or len(fc8) != IMAGENET_CLASSES):
        return
    keys = [k for k in renamed.tensors if k.startswith("head.") and k.split(".")[3] in layers]
    renamed.drop(keys)
    renamed.notes.append(f"the ImageNet classifier ({', '.join(layers)}) is dropped")


def _vgg_keys(name: str) -> tuple[str, ...]:
    if VGG_CONV.fullmatch(name):
        return f"backbone.{name}.weight", f"backbone.{name}.bias"
    if match := VGG_HEAD.fullmatch(name):
        layer = f"head.branches.{int(match[2] or 1) - 1}.fc{match[1]}"
        return f"{layer}.weight", f"{layer}.bias"
    return ()


def _add(
    renamed: Renamed, name: str, blobs: list[NDArray[np.float32]], keys: Iterable[str]
) -> None:
    """Add a layer's blobs; messages name those without a key as `layer[index]`."""
    keys = list(keys)
    if keys and keys[0].endswith("running_mean") and len(blobs) == 3:
        blobs = _batch_statistics(blobs)
    for index, blob in enumerate(blobs):
        key = keys[index] if index < len(keys) else None
        if key is not None and not _is_filter(key):
            blob = blob.reshape(-1)  # the older format stores a vector as 1x1x1xN
        renamed.add(key, f"{name}[{index}]", torch.from_numpy(blob))


def _is_filter(key: str) -> bool:
    return key.endswith(".weight") and ".bn" not in key and ".downsample.1" not in key


def _batch_statistics(blobs: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Divide the sums of mean and variance by the third blob; 0/0 is 0, as in Caffe."""
    weight = float(blobs[2].reshape(-1)[0]) if blobs[2].size else 0.0
    factor = np.float32(0.0 if weight == 0 else 1 / weight)
    return [blobs[0] * factor, blobs[1] * factor]
