"""The entry point of the conversion: recognises which project wrote a file, and converts it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from ...crf import CRFParams
from ...errors import WeightsError
from ...preprocess import Preprocess
from . import caffe
from .backbones import read_lite, read_torchvision
from .conversion import (
    CAFFE_INPUT,
    LITE_INPUT,
    RESNET_CRF,
    TORCHVISION_INPUT,
    Conversion,
    Renamed,
    finish,
)
from .ports import read_adaptsegnet, read_isht7, read_kazuto
from .pytorch_file import is_pytorch_file, read_state

# Weights published by the paper's authors and by kazuto1011: file name -> training data.
KNOWN_TRAINING = {
    "train_iter_20000": ("voc2012_aug/train",),
    "train2_iter_20000": ("voc2012_aug/train", "voc2012/trainval"),
    "deeplabv2_resnet101_msc-vocaug-20000": ("voc2012_aug/train",),
    "deeplabv2_resnet101_msc-cocostuff10k-20000": ("coco_stuff10k/train",),
    "deeplabv2_resnet101_msc-cocostuff164k-100000": ("coco_stuff164k/train",),
}

LOG = logging.getLogger(__name__)

Reader = Callable[..., tuple[Renamed, dict[str, Any]]]


@dataclass(frozen=True)
class Layout:
    """A project whose weights files can be converted.

    Attributes:
        name: The project and what it saves.
        marks: Tensor names; every file of the project has at least one of them.
        read: Renames the tensors and finds out the network's options.
        preprocess: The input that the project's weights expect.
        crf: CRF parameters published for them, if any.
    """

    name: str
    marks: tuple[str, ...]
    read: Reader
    preprocess: Preprocess
    crf: CRFParams | None = None


KAZUTO_INPUT = Preprocess(padding="none")

# The first match is used, because files of an earlier project may contain the marks of a later one.
LAYOUTS = (
    Layout(
        "kazuto1011/deeplab-pytorch",
        ("base.layer1.conv1.conv.weight", "layer1.conv1.conv.weight"),
        read_kazuto,
        KAZUTO_INPUT,
        RESNET_CRF,
    ),
    Layout(
        "isht7/pytorch-deeplab-resnet",
        ("Scale.conv1.weight",),
        read_isht7,
        CAFFE_INPUT,
        RESNET_CRF,
    ),
    Layout(
        "AdaptSegNet family",
        ("layer6.conv2d_list.0.weight", "layer5.conv2d_list.0.weight"),
        read_adaptsegnet,
        CAFFE_INPUT,
    ),
    Layout(
        "torchvision ResNet",
        ("layer1.0.conv1.weight",),
        read_torchvision,
        TORCHVISION_INPUT,
    ),
    Layout(
        "EfficientNet-Lite0 package",
        ("_conv_stem.weight",),
        read_lite,
        LITE_INPUT,
    ),
)


def convert_weights(
    path: str | PathLike[str],
    *,
    rates: Sequence[int] | None = None,
    num_classes: int | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Convert a weights file of another project.

    `create_model(**options).load_state_dict(state)` restores the network. Assumptions, such as a
    new head for a bare backbone, are logged as warnings. `read_foreign` also returns the
    preprocessing.

    Args:
        path: A .caffemodel or .pth file; the layout is recognised by its tensor names.
        rates: Atrous rates, one per branch of the head; the file does not contain them. None for
            the rates that are usual for the layout.
        num_classes: Number of classes of the new head of a bare backbone, 21 by default. The head
            of a file that has one must have this number.

    Returns:
        The float32 state dict, and the keyword arguments of `create_model`, without `scales`.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightsError: If the file is damaged, would run code, or has an unknown layout, or its
            tensors do not fit.
    """
    conversion = read_foreign(path, rates=rates, num_classes=num_classes)
    for note in conversion.notes:
        LOG.warning("%s: %s", path, note)
    return conversion.state, conversion.options


def read_foreign(
    path: str | PathLike[str],
    *,
    rates: Sequence[int] | None = None,
    num_classes: int | None = None,
) -> Conversion:
    """Convert a weights file of another project; the result includes preprocessing and notes.

    Arguments and errors are those of `convert_weights`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a .caffemodel or .pth file")
    if path.suffix.lower() == ".safetensors":
        raise WeightsError(f"{path} needs no conversion if atrous wrote it; pass it to load_model")
    if not is_pytorch_file(path):
        return caffe.read(path, rates=rates, num_classes=num_classes)
    state = read_state(path)
    layout = _recognise(state, source=str(path))
    renamed, options = layout.read(state, rates=rates, source=str(path))
    return finish(
        renamed,
        options,
        source=str(path),
        layout=layout.name,
        preprocess=layout.preprocess,
        crf=layout.crf,
        num_classes=num_classes,
    )


def _recognise(names: Iterable[str], *, source: str) -> Layout:
    names = list(names)
    for layout in LAYOUTS:
        if not set(layout.marks).isdisjoint(names):
            return layout
    known = "; ".join(f"{layout.name} ({layout.marks[0]})" for layout in LAYOUTS)
    raise WeightsError(
        f"{source} is of no known layout: it has {', '.join(names[:4])} …; supported are {known}"
    )
