"""Finds out a ResNet's options from tensors that already have the network's names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ...errors import WeightsError
from ...models.heads import ASPP_RATES
from .conversion import Renamed, branch_weights

BLOCK = re.compile(r"backbone\.layer([1-4])\.(\d+)\.conv1\.weight")
RESNET_PART = re.compile(r"(conv1|bn1|layer[1-4])\..+")

# (Blocks of each stage, whether they are bottlenecks) -> network.
NETWORKS = {
    ((2, 2, 2, 2), False): "deeplabv2_resnet18",
    ((3, 4, 6, 3), True): "deeplabv2_resnet50",
    ((3, 4, 23, 3), True): "deeplabv2_resnet101",
}


def network_name(renamed: Renamed, *, source: str) -> str:
    """Return the name of the network, found by its blocks.

    Raises:
        WeightsError: If no network has these blocks.
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
            "supported are ResNet-18, 50 and 101"
        )
    return name


def head_options(renamed: Renamed, *, rates: Sequence[int] | None, source: str) -> dict[str, Any]:
    """Return the options of the head, found by its branches and the size of their filters.

    Args:
        renamed: The file's tensors.
        rates: One rate per branch; None for the default.
        source: The file, for messages.

    Raises:
        WeightsError: If the number of `rates` differs from that of the branches, or there are no
            default rates for this number of branches.
    """
    filters = branch_weights(renamed)
    branches = len(filters)
    if branches == 0:
        return {"head": "aspp"} if rates is None else {"head": "aspp", "atrous_rates": tuple(rates)}
    is_pointwise = filters[0].shape[-1] == 1
    if is_pointwise and branches == 1:
        if rates is not None:
            raise WeightsError(
                f"{source} has a 1x1 head without atrous branches; leave out the rates"
            )
        return {"head": "conv1x1"}
    if branches == 1:
        return {"head": "largefov", "atrous_rates": checked_rates(rates or (12,), 1, source=source)}
    if rates is None and branches != len(ASPP_RATES):
        raise WeightsError(
            f"{source} has {branches} atrous branches, for which no rates are known; give the rates"
        )
    rates = checked_rates(rates or ASPP_RATES, branches, source=source)
    return {"head": "aspp", "atrous_rates": rates}


def checked_rates(rates: Sequence[int], branches: int, *, source: str) -> tuple[int, ...]:
    """Return the rates as a tuple, checked to be one per branch."""
    if len(rates) != branches:
        raise WeightsError(
            f"{source} has {branches} atrous branches but {len(rates)} rates were given "
            f"({', '.join(map(str, rates))}); give one per branch"
        )
    return tuple(rates)
