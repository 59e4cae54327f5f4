"""All resizing of tensors, in both conventions for corners.

Caffe's Interp layer maps corner to corner (`align_corners=True`). PyTorch ports resize with
`align_corners=False`. With the same weights the two give visibly different labels, so a network
must use the convention that it was trained with.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def resize_logits(logits: Tensor, size_hw: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Resize score maps or images bilinearly.

    Args:
        logits: (N, K, h, w) float.
        size_hw: Rows and columns of the result.
        align_corners: True aligns the centres of the corner pixels (Caffe), False the outer edges.

    Returns:
        (N, K, H, W) float.
    """
    if tuple(logits.shape[-2:]) == tuple(size_hw):
        return logits
    return F.interpolate(logits, size=size_hw, mode="bilinear", align_corners=align_corners)


def rescale(images: Tensor, scale: float, *, align_corners: bool) -> Tensor:
    """Resize a batch of images by a factor, to the size that the convention gives.

    With `align_corners`, n rows become floor((n - 1) * scale) + 1: 321 rows become 241 at 0.75 and
    161 at 0.5, as Caffe's Interp does with shrink 4, zoom 3 and shrink 2. Without, they become
    floor(n * scale), sampled as torch's `scale_factor` does. The size is at least 1 in both.

    Args:
        images: (N, C, H, W) float.
        scale: Positive factor.
        align_corners: Convention, as in `resize_logits`.

    Returns:
        (N, C, H', W') float.
    """
    if scale == 1:
        return images
    height, width = images.shape[-2:]
    if align_corners:
        # 100 * 0.29 is 28.99… in floating point, hence the small addition.
        size_hw = (int((height - 1) * scale + 1e-6) + 1, int((width - 1) * scale + 1e-6) + 1)
        return F.interpolate(images, size=size_hw, mode="bilinear", align_corners=True)
    if min(height, width) * scale < 1:  # torch refuses an empty result
        size_hw = (max(1, int(height * scale)), max(1, int(width * scale)))
        return F.interpolate(images, size=size_hw, mode="bilinear", align_corners=False)
    return F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)


def resize_labels(labels: Tensor, size_hw: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Resize label maps to the nearest label; labels are never interpolated.

    Args:
        labels: (N, H, W) integer.
        size_hw: Rows and columns of the result.
        align_corners: Convention. With True, shrinking 8k+1 to k+1 picks exactly every 8th pixel.

    Returns:
        (N, h, w), same dtype.
    """
    rows = _nearest(labels.shape[-2], size_hw[0], align_corners, labels.device)
    columns = _nearest(labels.shape[-1], size_hw[1], align_corners, labels.device)
    return labels[..., rows[:, None], columns[None, :]]


def _nearest(source: int, target: int, align_corners: bool, device: torch.device) -> Tensor:
    """Return the nearest source index of each target index, computed exactly in integers."""
    index = torch.arange(target, device=device)
    if not align_corners:
        return (2 * index + 1) * source // (2 * target)
    steps = max(target - 1, 1)
    return (2 * index * (source - 1) + steps) // (2 * steps)


def resize_image(pixels: Tensor, size_hw: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Resize uint8 images bilinearly, without antialiasing, as Caffe's data layer does.

    Args:
        pixels: (N, 3, H, W) uint8.
        size_hw: Rows and columns of the result.
        align_corners: Convention, as in `resize_logits`.

    Returns:
        (N, 3, h, w) uint8, rounded.
    """
    if tuple(pixels.shape[-2:]) == tuple(size_hw):
        return pixels
    if tuple(size_hw) == (1, 1):  # torch 2.13's uint8 kernel mistakes the strides of a single pixel
        resized = F.interpolate(
            pixels.float(), size=size_hw, mode="bilinear", align_corners=align_corners
        )
        return resized.round().to(torch.uint8)
    return F.interpolate(pixels, size=size_hw, mode="bilinear", align_corners=align_corners)
