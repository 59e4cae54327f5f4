"""Convert logits, energies, activation maps and labels to probabilities that sum to 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

Probabilities = NDArray[np.float32]

SUM_TOLERANCE = 0.02  # well above the rounding errors of float16 and of text


@dataclass(frozen=True, eq=False)
class Scores:
    """Class probabilities read from a file.

    Attributes:
        probabilities: (K, H, W) float32; each pixel sums to 1 as exactly as in the file.
        labels: Label of each of the K classes.
        names: Name of each class, if the file has names.
    """

    probabilities: Probabilities = field(repr=False)
    labels: tuple[int, ...]
    names: tuple[str, ...] | None = None


def from_energies(energies: NDArray[Any], step: float) -> Probabilities:
    """Invert p = exp(-step * energy)."""
    if energies.dtype == np.uint8:
        return _look_up(np.exp(-np.float32(step) * np.arange(256, dtype=np.float32)), energies)
    if energies.dtype.kind != "f":
        raise DataError(f"unary is {energies.dtype}; give uint8 or float energies")
    return from_logits(energies * -step)


def from_logits(logits: NDArray[Any]) -> Probabilities:
    """Softmax over the classes."""
    if logits.dtype.kind != "f":
        raise DataError(f"logits are {logits.dtype}; give float16, float32 or float64")
    scores = np.array(_to_float(logits))
    highest = scores.max(axis=0)
    if not np.isfinite(highest).all():
        raise DataError("logits hold NaN or infinity")
    scores -= highest
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=0)
    return scores


def from_probabilities(values: NDArray[Any]) -> Probabilities:
    """Check probabilities, float or uint8 (0-255).

    Raises:
        DataError: If one is negative, or the sum of a pixel is not near 1.
    """
    # Rounding down lowers each class by up to 1/255.
    tolerance = SUM_TOLERANCE + (len(values) / 255 if values.dtype == np.uint8 else 0)
    probabilities = _to_float(values)
    total = probabilities.sum(axis=0)
    least, lowest, highest = probabilities.min(), total.min(), total.max()
    # A comparison with NaN is false.
    if not (least >= 0 and lowest >= 1 - tolerance and highest <= 1 + tolerance):
        raise DataError(
            f"these are not probabilities: the lowest is {least:.4g}, and pixels sum to "
            f"{lowest:.4g}-{highest:.4g} instead of 1; read logits with logits=True (--logits), "
            "foreground scores with background=… (--background, --background-power)"
        )
    return probabilities


def with_background(
    foreground: NDArray[Any], *, background: float | None, background_power: float | None
) -> Probabilities:
    """Add the background as class 0 and scale each pixel to a sum of 1.

    Args:
        foreground: (K, H, W), not negative; float, or uint8 (0-255). K may be 0.
        background: Score of the background in every pixel.
        background_power: Power p of the background's score, (1 - highest foreground score)^p.

    Returns:
        (K + 1, H, W) float32.

    Raises:
        DataError: If a score is negative or not finite, or above 1 with `background_power`.
    """
    check_background(background, background_power)
    scores = np.empty((len(foreground) + 1, *foreground.shape[1:]), np.float32)
    scores[1:] = _to_float(foreground)
    highest = scores[1:].max(axis=0, initial=0)
    if not (scores[1:].min(initial=0) >= 0 and highest.max() < np.inf):
        raise DataError("foreground scores must be finite and not negative; clip them at 0")
    if background is not None:
        scores[0] = background
    elif background_power is not None:
        if highest.max() > 1 + SUM_TOLERANCE:
            raise DataError(
                f"foreground scores go up to {highest.max():.4g}, and (1 - score) needs scores up "
                "to 1; divide each map by its maximum"
            )
        scores[0] = (1 - highest.clip(max=1)) ** background_power
    scores /= scores.sum(axis=0)
    return scores


def check_background(background: float | None, background_power: float | None) -> None:
    """Check that at most one background is given, and that it is positive."""
    if background is not None and background_power is not None:
        raise DataError("background and background_power both make class 0; give one of them")
    for name, value in (("background", background), ("background_power", background_power)):
        if value is not None and not 0 < value < np.inf:
            raise DataError(f"{name} is {value}; it must be positive")


def from_labels(
    labels: NDArray[Any],
    *,
    gt_prob: float = 0.7,
    unsure_label: int | None = 255,
    num_classes: int | None = None,
) -> Scores:
    """Make probabilities from labels: `gt_prob` for a pixel's label, the rest shared equally.

    Args:
        labels: (H, W) integer.
        gt_prob: Confidence in a label, between 0 and 1.
        unsure_label: Every class is equally likely in pixels with this label; it is not a class.
        num_classes: Use the classes 0 to `num_classes` - 1; by default, those in `labels`.

    Returns:
        Probabilities of those classes.

    Raises:
        DataError: If a label is not a class, no pixel has one, or `gt_prob` is below an equal
            share.
    """
    if not 0 < gt_prob < 1:
        raise DataError(f"gt_prob is {gt_prob}; it must be between 0 and 1")
    present = np.flatnonzero(np.bincount(labels.ravel()))
    present = present[present != unsure_label]
    if not len(present):
        raise DataError(f"every pixel has the label {unsure_label}, which means unsure")
    classes = present
    if num_classes is not None:
        classes = np.arange(num_classes)
        classes = classes[classes != unsure_label]
        strange = np.setdiff1d(present, classes).tolist()
        if strange:
            raise DataError(f"labels hold {strange[:8]}, but classes are 0-{num_classes - 1}")
    count = len(classes)
    confidence = gt_prob if count > 1 else 1  # a single class gets all
    if confidence * count < 1:
        raise DataError(
            f"gt_prob is {gt_prob}, less than an equal share of {count} classes; raise it"
        )
    others = (1 - confidence) / max(count - 1, 1)
    probabilities = np.full((count, *labels.shape), others, np.float32)
    for row, label in enumerate(classes):
        probabilities[row, labels == label] = confidence
    if unsure_label is not None:
        probabilities[:, labels == unsure_label] = 1 / count
    return Scores(probabilities, tuple(classes.tolist()))


def _to_float(values: NDArray[Any]) -> Probabilities:
    """Convert to float32; uint8 is divided by 255."""
    if values.dtype == np.uint8:
        return _look_up(np.arange(256, dtype=np.float32) / np.float32(255), values)
    if values.dtype == np.float16:
        return _look_up(_halves(), values.view(np.uint16))
    if values.dtype.kind != "f":
        raise DataError(
            f"scores are {values.dtype}; give float16, float32, float64 or uint8 (0-255)"
        )
    return values.astype(np.float32, copy=False)


@cache
def _halves() -> Probabilities:
    """Every float16 as float32: looking one up is three times as fast as converting it."""
    return np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)


def _look_up(table: Probabilities, values: NDArray[Any]) -> Probabilities:
    """Replace integers by their values in a table; one class at a time, to stay in the cache."""
    result = np.empty(values.shape, np.float32)
    for row, numbers in zip(result, values, strict=True):
        np.take(table, numbers, out=row, mode="clip")
    return result
