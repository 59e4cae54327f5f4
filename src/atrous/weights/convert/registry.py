"""The door: recognises whose names a file bears, and converts it."""

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

LOG = logging.getLogger(__name__)

Reader = Callable[..., tuple[Renamed, dict[str, Any]]]


@dataclass(frozen=True)
class Layout:
    """A project whose names are known.

    Attributes:
        name: The project and what it saves.
        marks: Names of which a file of the project has at least one.
        read: Renames the tensors and tells the network's options.
        preprocess: The input that the project's weights expect.
        crf: Parameters published for them.
    """

    name: str
    marks: tuple[str, ...]
    read: Reader
    preprocess: Preprocess
    crf: CRFParams | None = None


KAZUTO_INPUT = Preprocess(padding="none")

# The first that fits is taken: a later mark may also be found in an earlier project's files.
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
    """Read a weight file of another project.

    `create_model(**options).load_state_dict(state)` is the network. What had to be assumed, such as
    a new head for a bare backbone, is logged as a warning; `read_foreign` also tells the
    preprocessing.

    Args:
        path: A .caffemodel or .pth file; the layout is recognised by its names.
        rates: Atrous rates, one for each branch of the head, where the file cannot tell them.
        num_classes: Classes of the new head of a bare backbone, 21 if left out. A file that has a
            head must score as many.

    Returns:
        The float32 state dict, and the keyword arguments of `create_model`, without `scales`.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightsError: If it is damaged, would run code, is of no known layout, or its tensors do not
            fit.
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
    """Read a weight file of another project, with all that is known about it.

    Arguments and errors are those of `convert_weights`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a .caffemodel or .pth file")
    if path.suffix.lower() == ".safetensors":
        raise WeightsError(
            f"{path} needs no conversion if atrous wrote it: load_model takes it as it is"
        )
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
        f"{source} is of no known layout: it has {', '.join(names[:4])} …; understood are {known}"
    )
