"""What every layout has in common: renamed tensors become a checked state with its options."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ...crf import CRFParams
from ...errors import WeightsError
from ...models import NetworkOptions, create_model
from ...preprocess import Preprocess
from ..checkpoint import check_state, empty_model

DEFAULT_CLASSES = 21  # of a new head, where nobody says otherwise: PASCAL VOC's
HEAD_SEED = 0
BRANCH = re.compile(r"head\.branches\.\d+(\.fc8)?\.weight")

CAFFE_INPUT = Preprocess()
TORCHVISION_INPUT = Preprocess(
    channel_order="rgb",
    mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
    std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
)
LITE_INPUT = Preprocess(channel_order="rgb", mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))


# Released with the paper's networks, tuned on PASCAL VOC.
RESNET_CRF = CRFParams(
    spatial_weight=3, spatial_xy_std=1, bilateral_weight=4, bilateral_xy_std=67, bilateral_rgb_std=3
)
VGG_CRF = CRFParams(
    spatial_weight=2, spatial_xy_std=2, bilateral_weight=4, bilateral_xy_std=65, bilateral_rgb_std=3
)


@dataclass(frozen=True)
class Conversion:
    """A file of another project, as this one understands it.

    Attributes:
        state: Float32 state dict of `create_model(**options)`.
        options: Keyword arguments of `create_model`, without `scales`.
        preprocess: Channel order, mean, std and padding that the weights expect.
        layout: The project that the file's names are of.
        notes: What was assumed, dropped or made anew, a sentence each.
        crf: Parameters published for these weights, if any.
        is_head_new: Whether the file had no head and the state holds a fresh one.
    """

    state: dict[str, Tensor]
    options: dict[str, Any]
    preprocess: Preprocess
    layout: str
    notes: tuple[str, ...]
    crf: CRFParams | None
    is_head_new: bool


@dataclass
class Renamed:
    """Tensors under the network's names.

    Attributes:
        tensors: Name in the network -> tensor.
        names: Name in the network -> name in the file.
        unknown: Names in the file that mean nothing to the network.
        notes: What was assumed or dropped on the way.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    names: dict[str, str] = field(default_factory=dict[str, str])
    unknown: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])

    def add(self, key: str | None, name: str, tensor: Tensor) -> None:
        """Take a tensor of the file; `key=None` if nothing in the network corresponds to it."""
        if key is None or key in self.tensors:
            self.unknown.append(name)
        else:
            self.tensors[key] = tensor.to(torch.float32).contiguous()
            self.names[key] = name

    def drop(self, keys: Iterable[str]) -> None:
        """Leave tensors out of the state; say why in `notes`."""
        for key in keys:
            del self.tensors[key]


def rename(source: Mapping[str, Tensor], translate: Callable[[str], str | None]) -> Renamed:
    """Give every tensor the network's name for it; counts of seen batches are left out."""
    renamed = Renamed()
    for name, tensor in source.items():
        if not name.endswith("num_batches_tracked"):
            renamed.add(translate(name), name, tensor)
    return renamed


def finish(
    renamed: Renamed,
    options: dict[str, Any],
    *,
    source: str,
    layout: str,
    preprocess: Preprocess,
    crf: CRFParams | None,
    num_classes: int | None,
) -> Conversion:
    """Add the class count and, to a bare backbone, a head; check that the state fits.

    Args:
        renamed: The file's tensors.
        options: Keyword arguments of `create_model` but for `num_classes`.
        source: The file, for errors.
        layout: Whose names these were.
        preprocess: The input that the weights expect.
        crf: Published parameters, dropped for a new head.
        num_classes: What the caller asks for; None takes the file's.

    Raises:
        WeightsError: If keys are missing, unexpected or misshapen, or the class count differs.
    """
    found = class_count(renamed)
    is_head_new = found is None
    if found is not None and num_classes is not None and found != num_classes:
        raise WeightsError(f"{source} scores {found} classes, but {num_classes} are asked for")
    options = {**options, "num_classes": found or num_classes or DEFAULT_CLASSES}
    state = dict(renamed.tensors)
    notes = list(renamed.notes)
    if is_head_new:
        state = _new_head(options) | state  # VGG's fc6 and fc7 are kept
        notes.append(
            f"the file is a bare backbone: the head for {options['num_classes']} classes is new "
            "and must be trained"
        )
    network = NetworkOptions(**options)
    check_state(
        empty_model(network), state, source=source, names=renamed.names, unknown=renamed.unknown
    )
    return Conversion(
        state=state,
        options=options,
        preprocess=preprocess,
        layout=layout,
        notes=tuple(notes),
        crf=None if is_head_new else crf,
        is_head_new=is_head_new,
    )


def class_count(renamed: Renamed) -> int | None:
    """Return the number of classes that the head scores; None without a head."""
    scores = branch_weights(renamed)
    return scores[0].shape[0] if scores else None


def branch_weights(renamed: Renamed) -> list[Tensor]:
    """Return the filters that give scores, one a branch; none for a bare backbone."""
    return [tensor for key, tensor in renamed.tensors.items() if BRANCH.fullmatch(key)]


def _new_head(options: dict[str, Any]) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(HEAD_SEED)
        model = create_model(**options)
    return {key: tensor for key, tensor in model.state_dict().items() if key.startswith("head.")}
