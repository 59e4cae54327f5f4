"""The steps that all layouts share: collect renamed tensors, add a head if needed, check."""

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

DEFAULT_CLASSES = 21  # of a new head: those of PASCAL VOC
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
    """A converted weights file of another project.

    Attributes:
        state: Float32 state dict of `create_model(**options)`.
        options: Keyword arguments of `create_model`, without `scales`.
        preprocess: Channel order, mean, std and padding that the weights expect.
        layout: The project that wrote the file.
        notes: What was assumed, dropped or newly initialised, one sentence each.
        crf: Parameters published for these weights, if any.
        is_head_new: Whether the file had no head, so that the state holds an untrained one.
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
    """Tensors of a file under the names that the network gives them.

    Attributes:
        tensors: Name in the network -> tensor.
        names: Name in the network -> name in the file.
        unknown: Names in the file that the network does not have.
        notes: What was assumed or dropped, one sentence each.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    names: dict[str, str] = field(default_factory=dict[str, str])
    unknown: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])

    def add(self, key: str | None, name: str, tensor: Tensor) -> None:
        """Add a tensor of the file; `key=None` if the network has no counterpart."""
        if key is None or key in self.tensors:
            self.unknown.append(name)
        else:
            self.tensors[key] = tensor.to(torch.float32).contiguous()
            self.names[key] = name

    def drop(self, keys: Iterable[str]) -> None:
        """Remove tensors from the state; the caller explains it in `notes`."""
        for key in keys:
            del self.tensors[key]


def rename(source: Mapping[str, Tensor], translate: Callable[[str], str | None]) -> Renamed:
    """Rename every tensor as the network does; batch norm's batch counters are left out."""
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
    """Add the number of classes and, for a bare backbone, a new head; check that the state fits.

    Args:
        renamed: The file's tensors.
        options: Keyword arguments of `create_model` except `num_classes`.
        source: The file, for errors.
        layout: The project that wrote the file.
        preprocess: The input that the weights expect.
        crf: Published parameters; dropped for a new head.
        num_classes: Number of classes that the caller asks for; None for that of the file.

    Raises:
        WeightsError: If keys are missing, unexpected or of the wrong shape, or the number of
            classes differs.
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
            f"the file has no head: the head for {options['num_classes']} classes is new and must "
            "be trained"
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
    """Return the number of classes of the head; None without a head."""
    scores = branch_weights(renamed)
    return scores[0].shape[0] if scores else None


def branch_weights(renamed: Renamed) -> list[Tensor]:
    """Return the filters of the classifiers, one per branch; empty without a head."""
    return [tensor for key, tensor in renamed.tensors.items() if BRANCH.fullmatch(key)]


def _new_head(options: dict[str, Any]) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(HEAD_SEED)
        model = create_model(**options)
    return {key: tensor for key, tensor in model.state_dict().items() if key.startswith("head.")}
