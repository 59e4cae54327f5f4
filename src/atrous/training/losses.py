"""The training loss: one cross entropy for each scale and one for their fusion, summed."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from ..labels import IGNORE_INDEX
from ..models.multiscale import fuse_scales
from ..resize import resize_labels, resize_logits


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    total: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Average the cross entropy over the pixels whose label is known; 0 where none is.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64, 255 unknown.
        class_weights: (K,) factors, or None.
        total: Turns the number of known pixels here into that of the whole batch, where other
            processes hold the rest of it; the results then add up to the batch's average.

    Returns:
        A scalar. With weights the sum is still divided by the number of pixels.
    """
    summed = F.cross_entropy(
        logits, labels, weight=class_weights, ignore_index=IGNORE_INDEX, reduction="sum"
    )
    known = (labels != IGNORE_INDEX).sum()
    if total is not None:
        known = total(known)
    return summed / known.clamp(min=1)


def multiscale_losses(
    logits: list[Tensor],
    labels: Tensor,
    *,
    align_corners: bool,
    at_pixels: bool = False,
    class_weights: Tensor | None = None,
    upsample: Callable[[Tensor, tuple[int, int]], Tensor] | None = None,
    total: Callable[[Tensor], Tensor] | None = None,
) -> list[Tensor]:
    """Give the losses of a training step, which are summed with equal weight.

    The fused map is compared with labels of its own size. So is each scale's map, with Caffe's one
    exception (`align_corners=True`): a map whose scale is not 1/n, such as 0.75, is first
    interpolated to the size of the 1x map. The PyTorch ports (`align_corners=False`) make no
    exception.

    Args:
        logits: (N, K, h, w) for each scale, the first of scale 1 (`DeepLab.forward_scales`).
        labels: (N, H, W) int64 at the size of the input.
        align_corners: Resize convention of the network.
        at_pixels: Compare at the size of the input instead: maps are interpolated up, labels stay
        whole.
        class_weights: (K,) factors of the classes, or None.
        upsample: The network's own way up (`DeepLab.upsample`), used with `at_pixels`; a learned
            one learns only here. Bilinear if left out.
        total: As in `cross_entropy`.

    Returns:
        Scalars: fused, then each scale; one scalar where there is a single scale.
    """
    maps = list(logits)
    if len(logits) > 1:
        maps.insert(0, fuse_scales(logits, align_corners=align_corners))
    losses = []
    for scores in maps:
        if at_pixels:
            size_hw = (labels.shape[-2], labels.shape[-1])
        elif align_corners and not _shrinks_evenly(scores, logits[0]):
            size_hw = (logits[0].shape[-2], logits[0].shape[-1])
        else:
            size_hw = (scores.shape[-2], scores.shape[-1])
        target = resize_labels(labels, size_hw, align_corners=align_corners)
        if at_pixels and upsample is not None:
            scores = upsample(scores, size_hw)
        else:
            scores = resize_logits(scores, size_hw, align_corners=align_corners)
        losses.append(cross_entropy(scores, target, class_weights=class_weights, total=total))
    return losses


def _shrinks_evenly(scores: Tensor, full: Tensor) -> bool:
    """Whether every position of a smaller map is a position of the full one, as at scale 1/2."""
    return all(
        few < 2 or (many - 1) % (few - 1) == 0
        for few, many in zip(scores.shape[-2:], full.shape[-2:], strict=True)
    )
