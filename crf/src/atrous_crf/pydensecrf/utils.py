"""Unaries from labels and probabilities, and features of pixel grids: pydensecrf.utils."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .checks import widths

__all__ = [
    "compute_unary",
    "create_pairwise_bilateral",
    "create_pairwise_gaussian",
    "softmax_to_unary",
    "unary_from_labels",
    "unary_from_softmax",
]

FloatArray = NDArray[np.float32]


def unary_from_labels(
    labels: ArrayLike, n_labels: int, gt_prob: float, zero_unsure: bool = True
) -> FloatArray:
    """Convert a label map to unaries in which each label is right with probability `gt_prob`.

    Args:
        labels: Integers, any shape of N elements.
        n_labels: Number of classes, not counting label 0 if `zero_unsure`.
        gt_prob: Between 0 and 1, exclusive; the other classes share 1 - gt_prob.
        zero_unsure: Whether label 0 means "unknown" and class k has label k + 1.

    Returns:
        (n_labels, N) float32 negative log probabilities.

    Raises:
        InputError: If `gt_prob` is not between 0 and 1, there is no class, or a label is not an
            integer in range.
    """
    if not 0 < gt_prob < 1:
        raise InputError(f"gt_prob is {gt_prob}; it must be between 0 and 1, both excluded")
    if n_labels < 1:
        raise InputError(f"n_labels is {n_labels}; it must be at least 1")
    flat = np.asarray(labels).ravel()
    if flat.dtype.kind not in "iub":
        raise InputError(f"labels are {flat.dtype}; they must be integers")
    flat = flat.astype(np.int64)  # so that 0 - 1 is -1 for unsigned labels
    highest = n_labels if zero_unsure else n_labels - 1
    if flat.size and not (flat.min() >= 0 and flat.max() <= highest):
        raise InputError(
            f"labels range from {flat.min()} to {flat.max()}; with n_labels={n_labels} and "
            f"zero_unsure={zero_unsure} they must be 0 to {highest} (map an ignored label to 0 "
            "with zero_unsure=True)"
        )
    others = -np.log((1 - gt_prob) / (n_labels - 1)) if n_labels > 1 else 0.0
    unary = np.full((n_labels, flat.size), others, np.float32)
    classes = flat - 1 if zero_unsure else flat
    known = np.flatnonzero(classes >= 0)
    unary[classes[known], known] = -np.log(gt_prob)
    unary[:, classes < 0] = -np.log(1 / n_labels)
    return unary


def unary_from_softmax(
    sm: ArrayLike, scale: float | None = None, clip: float | None = 1e-5
) -> FloatArray:
    """Convert class probabilities to unaries, -log(p).

    Args:
        sm: (C, ...) probabilities, classes first.
        scale: Weight of `sm`, above 0 and at most 1; the classes share 1 - scale evenly.
        clip: Lower bound of the probabilities. With None or 0 there is none, and a probability of 0
            becomes an infinite energy.

    Returns:
        (C, N) float32.

    Raises:
        InputError: If `sm` has no class dimension, or `scale` is out of range.
    """
    probabilities = np.asarray(sm)
    if probabilities.ndim < 1 or not len(probabilities):
        raise InputError(
            f"sm has the shape {probabilities.shape}; the first dimension must be the classes"
        )
    num_classes = len(probabilities)
    if scale is not None:
        if not 0 < scale <= 1:
            raise InputError(f"scale is {scale}; it must be above 0 and at most 1")
        probabilities = scale * probabilities + (1 - scale) / num_classes
    if clip:
        probabilities = np.clip(probabilities, clip, 1.0)
    with np.errstate(divide="ignore"):
        energy = -np.log(probabilities)
    columns = energy.size // num_classes  # -1 is ambiguous for 0 pixels
    return energy.reshape(num_classes, columns).astype(np.float32)


def compute_unary(labels: ArrayLike, M: int, GT_PROB: float = 0.5) -> FloatArray:  # noqa: N803
    """Old name of `unary_from_labels`; label 0 means "unknown"."""
    logging.warning("compute_unary is deprecated, use unary_from_labels instead")
    return unary_from_labels(labels, M, GT_PROB)


def softmax_to_unary(sm: ArrayLike, GT_PROB: float = 1) -> FloatArray:  # noqa: N803
    """Old name of `unary_from_softmax`; it does not clip probabilities of 0."""
    logging.warning("softmax_to_unary is deprecated, use unary_from_softmax instead")
    return unary_from_softmax(sm, None if GT_PROB == 1 else GT_PROB, clip=None)


def create_pairwise_gaussian(sdims: Sequence[float], shape: Sequence[int]) -> FloatArray:
    """Return the positions of the points of a grid, in kernel widths, for `addPairwiseEnergy`.

    Args:
        sdims: Kernel width along each dimension, in points.
        shape: Shape of the grid, of any number of dimensions; (H, W) for an image.

    Returns:
        (dimensions, N) float32; rows in the order of `shape`, (y, x) for an image.

    Raises:
        InputError: If there are fewer widths than dimensions, or one is not positive.
    """
    stds = widths("sdims", sdims, len(shape))
    positions = np.indices(shape, dtype=np.float32).reshape(len(shape), -1)
    return positions / stds[:, None]


def create_pairwise_bilateral(
    sdims: Sequence[float], schan: Sequence[float] | float, img: ArrayLike, chdim: int = -1
) -> FloatArray:
    """Return the positions and values of the points of an image, in kernel widths.

    Args:
        sdims: Kernel width along each dimension of the image without its channels.
        schan: Kernel width of the values: one number, or one number per channel.
        img: Image with any number of dimensions and channels.
        chdim: The dimension of the channels; -1 if the image has one channel and no such dimension.

    Returns:
        (dimensions + channels, N) float32, positions first.

    Raises:
        InputError: If `chdim` does not exist, there are fewer widths than dimensions or channels,
            or a width is not positive.
    """
    image = np.asarray(img)
    if chdim == -1:
        channels = image[None]
    elif -image.ndim <= chdim < image.ndim:
        channels = np.moveaxis(image, chdim, 0)
    else:
        raise InputError(f"chdim is {chdim}, but img has only {image.ndim} dimensions")
    positions = create_pairwise_gaussian(sdims, channels.shape[1:])
    stds = widths("schan", schan, len(channels))
    values = channels.reshape(len(channels), positions.shape[1]).astype(np.float32)
    return np.concatenate([positions, values / stds[:, None]])
