"""Fusion of the score maps of several input scales by maximum (paper, table 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..resize import resize_logits


def fuse_scales(logits: list[Tensor], *, align_corners: bool) -> Tensor:
    """Return the element-wise maximum of score maps, at the size of the first.

    Args:
        logits: (N, K, h, w) for each scale; the first is the map of scale 1.
        align_corners: Resize convention of the network.

    Returns:
        (N, K, h, w), the size of the first map.
    """
    fused = logits[0]
    for scores in logits[1:]:
        size_hw = (fused.shape[-2], fused.shape[-1])
        fused = torch.maximum(fused, resize_logits(scores, size_hw, align_corners=align_corners))
    return fused
