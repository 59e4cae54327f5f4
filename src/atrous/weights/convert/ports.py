"""PyTorch ports of DeepLab v2: kazuto1011, isht7, and AdaptSegNet, which derives from isht7."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...errors import WeightsError
from .conversion import Renamed, rename
from .resnet import RESNET_PART, head_options, network_name

State = dict[str, Tensor]

MULTISCALE_PREFIX = "base."  # added by kazuto1011's multi-scale wrapper
KAZUTO_STEM = re.compile(r"layer1\.conv1\.(conv|bn)\.(\w+)")
KAZUTO_UNIT = re.compile(
    r"layer([2-5])\.block(\d+)\.(reduce|conv3x3|increase|shortcut)\.(conv|bn)\.(\w+)"
)
KAZUTO_HEAD = re.compile(r"(?:aspp\.c(\d+)|fc)\.(weight|bias)")
KAZUTO_UNITS = {
    "reduce": ("conv1", "bn1"),
    "conv3x3": ("conv2", "bn2"),
    "increase": ("conv3", "bn3"),
    "shortcut": ("downsample.0", "downsample.1"),
}

ISHT7_PREFIX = "Scale."
CLASSIFIER = re.compile(r"(layer[56])\.conv2d_list\.(\d+)\.(weight|bias)")
AUXILIARY_CHANNELS = 1024  # of res4, the input of AdaptSegNet's auxiliary head
USED_RATES = (6, 12)


def read_kazuto(
    state: State, *, rates: Sequence[int] | None, source: str
) -> tuple[Renamed, dict[str, Any]]:
    """Rename kazuto1011's tensors; its DeepLab v1 networks have `fc` instead of `aspp`."""
    renamed = rename(state, _kazuto_key)
    name = network_name(renamed, source=source)
    head = head_options(renamed, rates=rates, source=source)
    # The port resizes with torch's interpolate, whose default is align_corners=False.
    return renamed, {"name": name, **head, "stride_in_1x1": True, "align_corners": False}


def _kazuto_key(name: str) -> str | None:
    name = name.removeprefix(MULTISCALE_PREFIX)
    if match := KAZUTO_STEM.fullmatch(name):
        return f"backbone.{'conv1' if match[1] == 'conv' else 'bn1'}.{match[2]}"
    if match := KAZUTO_UNIT.fullmatch(name):
        conv, bn = KAZUTO_UNITS[match[3]]
        block = f"backbone.layer{int(match[1]) - 1}.{int(match[2]) - 1}"
        return f"{block}.{conv if match[4] == 'conv' else bn}.{match[5]}"
    if match := KAZUTO_HEAD.fullmatch(name):
        return f"head.branches.{match[1] or 0}.{match[2]}"
    return None


def read_isht7(
    state: State, *, rates: Sequence[int] | None, source: str
) -> tuple[Renamed, dict[str, Any]]:
    """Rename isht7's tensors: torchvision's names, with the classifier as `layer5`."""
    state = {name.removeprefix(ISHT7_PREFIX): tensor for name, tensor in state.items()}
    renamed = rename(state, lambda name: _resnet_key(name, head="layer5"))
    return renamed, _caffe_style_options(renamed, rates=rates, source=source)


def read_adaptsegnet(
    state: State, *, rates: Sequence[int] | None, source: str
) -> tuple[Renamed, dict[str, Any]]:
    """Rename the tensors of AdaptSegNet and its descendants; keep the branches that they use.

    Their classifier returns inside the loop over its branches, after the second: the other branches
    are in the file but never contributed to a score or received a gradient. isht7's network without
    its wrapper has the same names but sums all four branches; pass `rates` to convert such a file.
    """
    has_two_heads = "layer6.conv2d_list.0.weight" in state
    auxiliary = _auxiliary(state, source=source) if has_two_heads else []
    head = "layer6" if has_two_heads else "layer5"
    renamed = rename(
        {name: tensor for name, tensor in state.items() if name not in auxiliary},
        lambda name: _resnet_key(name, head=head),
    )
    if auxiliary:
        renamed.notes.append(
            f"the auxiliary head on res4 is dropped ({len(auxiliary)} tensors, layer5.*)"
        )
    kept = tuple(rates or USED_RATES)
    _keep_branches(renamed, kept, is_default=rates is None, is_sure=has_two_heads)
    return renamed, _caffe_style_options(renamed, rates=kept, source=source)


def _auxiliary(state: State, *, source: str) -> list[str]:
    """List the tensors of the auxiliary head; refuse two heads on the last stage."""
    names = [name for name in state if name.startswith("layer5.")]
    for name in names:
        if state[name].ndim == 4 and state[name].shape[1] != AUXILIARY_CHANNELS:
            raise WeightsError(
                f"{source}: {name} reads {state[name].shape[1]} channels, but a file with layer6 "
                f"must have an auxiliary head on res4 ({AUXILIARY_CHANNELS}); networks with two "
                "heads on the last stage are not supported"
            )
    return names


def _keep_branches(
    renamed: Renamed, kept: tuple[int, ...], *, is_default: bool, is_sure: bool
) -> None:
    rates = ", ".join(map(str, kept))
    dropped = [key for key in renamed.tensors if _branch(key) >= len(kept)]
    renamed.drop(dropped)
    if dropped:
        renamed.notes.append(
            f"the first {len(kept)} branches are kept, at rates {rates}; the others are dropped, "
            "because the code that trains such files never uses them"
        )
    if is_default and not is_sure:
        renamed.notes.append(
            "the file may also come from a program that sums all four branches (isht7's network "
            "without its wrapper); if so, convert it with the rates 6,12,18,24"
        )


def _branch(key: str) -> int:
    """Return the index of the branch that a tensor belongs to; -1 for the backbone."""
    return int(key.split(".")[2]) if key.startswith("head.branches.") else -1


def _resnet_key(name: str, *, head: str) -> str | None:
    if RESNET_PART.fullmatch(name):
        return f"backbone.{name}"
    match = CLASSIFIER.fullmatch(name)
    if match and match[1] == head:
        return f"head.branches.{match[2]}.{match[3]}"
    return None


def _caffe_style_options(
    renamed: Renamed, *, rates: Sequence[int] | None, source: str
) -> dict[str, Any]:
    name = network_name(renamed, source=source)
    head = head_options(renamed, rates=rates, source=source)
    # When these ports were written, torch's upsampling layer resized corner to corner.
    return {"name": name, **head, "stride_in_1x1": True, "align_corners": True}
