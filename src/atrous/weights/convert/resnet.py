"""ResNets of every layout, once their tensors bear torchvision's names behind `backbone.`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ...errors import WeightsError
from ...models.heads import ASPP_RATES
from .conversion import Renamed, branch_weights

BLOCK = re.compile(r"backbone\.layer([1-4])\.(\d+)\.conv1\.weight")
RESNET_PART = re.compile(r"(conv1|bn1|layer[1-4])\..+")

# blocks of each stage, bottlenecks or not -> network
NETWORKS = {
    ((2, 2, 2, 2), False): "deeplabv2_resnet18",
    ((3, 4, 6, 3), True): "deeplabv2_resnet50",
    ((3, 4, 23, 3), True): "deeplabv2_resnet101",
}


def network_name(renamed: Renamed, *, source: str) -> str:
    """Tell the network by its blocks.

    Raises:
        WeightsError: If there is no such network here.
    """
    depths = [0, 0, 0, 0]
    for key in renamed.tensors:
        if match := BLOCK.fullmatch(key):
            depths[int(match[1]) - 1] = max(depths[int(match[1]) - 1], int(match[2]) + 1)
    has_bottlenecks = any(".conv3." in key for key in renamed.tensors)
    name = NETWORKS.get(((depths[0], depths[1], depths[2], depths[3]), has_bottlenecks))
    if name is None:
        kind = "bottleneck" if has_bottlenecks else "basic"
        raise WeightsError(
            f"{source} is a ResNet of {'/'.join(map(str, depths))} {kind} blocks; "
            "understood are ResNet-18, 50 and 101"
        )
    return name


def head_options(renamed: Renamed, *, rates: Sequence[int] | None, source: str) -> dict[str, Any]:
    """Tell the head by its branches and the size of their filters.

    Args:
        renamed: The file's tensors.
        rates: One rate for each branch, where the caller knows better than the default.
        source: The file, for errors.

    Raises:
        WeightsError: If `rates` do not match the branches, or are needed and missing.
    """
    filters = branch_weights(renamed)
    branches = len(filters)
    if branches == 0:
        return {"head": "aspp"} if rates is None else {"head": "aspp", "atrous_rates": tuple(rates)}
    is_pointwise = filters[0].shape[-1] == 1
    if is_pointwise and branches == 1:
        if rates is not None:
            raise WeightsError(
                f"{source} has a 1x1 head without atrous branches; leave the rates out"
            )
        return {"head": "conv1x1"}
    if branches == 1:
        return {"head": "largefov", "atrous_rates": checked_rates(rates or (12,), 1, source=source)}
    if rates is None and branches != len(ASPP_RATES):
        raise WeightsError(
            f"{source} has {branches} atrous branches and nothing that tells their rates; give them"
        )
    rates = checked_rates(rates or ASPP_RATES, branches, source=source)
    return {"head": "aspp", "atrous_rates": rates}


def checked_rates(rates: Sequence[int], branches: int, *, source: str) -> tuple[int, ...]:
    """Refuse rates that are not one for each branch."""
    if len(rates) != branches:
        raise WeightsError(
            f"{source} has {branches} atrous branches but {len(rates)} rates were given "
            f"({', '.join(map(str, rates))}); give one for each"
        )
    return tuple(rates)
