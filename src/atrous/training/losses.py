"""The training losses: a cross entropy for each scale and one for the fused scores."""

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
    sum_over_processes: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Average the cross entropy over the pixels whose label is known.

    Args:
        logits: (N, K, H, W).
        labels: (N, H, W) int64, 255 unknown.
        class_weights: (K,) factors, or None.
        sum_over_processes: Sums the number of known pixels over the processes that share the
            batch; the results of the processes then add up to the average over the batch.

    Returns:
        A scalar; 0 if no label is known. With class weights, the sum is still divided by the
        number of pixels.
    """
    summed = F.cross_entropy(
        logits, labels, weight=class_weights, ignore_index=IGNORE_INDEX, reduction="sum"
    )
    known = (labels != IGNORE_INDEX).sum()
    if sum_over_processes is not None:
        known = sum_over_processes(known)
    return summed / known.clamp(min=1)


def multiscale_losses(
    logits: list[Tensor],
    labels: Tensor,
    *,
    align_corners: bool,
    at_pixels: bool = False,
    class_weights: Tensor | None = None,
    upsample: Callable[[Tensor, tuple[int, int]], Tensor] | None = None,
    sum_over_processes: Callable[[Tensor], Tensor] | None = None,
) -> list[Tensor]:
    """Compute the losses of a training step, to be summed with equal weight.

    Each map of logits is compared with labels resized to its own size. Caffe (`align_corners=True`)
    has one exception: a map whose scale is not 1/n, such as 0.75, is first interpolated to the size
    of the map of scale 1. The PyTorch ports (`align_corners=False`) have no exception.

    Args:
        logits: (N, K, h, w) for each scale, the first of scale 1 (`DeepLab.forward_scales`).
        labels: (N, H, W) int64 at the size of the input.
        align_corners: Resize convention of the network.
        at_pixels: Compare at the size of the input instead: logits are upsampled, and labels are
            not resized.
        class_weights: (K,) factors of the classes, or None.
        upsample: The network's upsampling (`DeepLab.upsample`), used with `at_pixels`; only this
            loss trains a learned one. None is bilinear.
        sum_over_processes: As in `cross_entropy`.

    Returns:
        Scalars: the fused loss, then one per scale; a single one if there is one scale.
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
        losses.append(
            cross_entropy(
                scores,
                target,
                class_weights=class_weights,
                sum_over_processes=sum_over_processes,
            )
        )
    return losses


def _shrinks_evenly(scores: Tensor, full: Tensor) -> bool:
    """Return whether all positions of a smaller map are positions of the full one (scale 1/n)."""
    return all(
        few < 2 or (many - 1) % (few - 1) == 0
        for few, many in zip(scores.shape[-2:], full.shape[-2:], strict=True)
    )
