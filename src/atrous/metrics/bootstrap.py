"""Confidence interval of a difference in mean IoU, by resampling the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .confusion import Counts, Floats

LEVEL = 0.95
BLOCK = 100  # resamples drawn at a time, to bound the memory


@dataclass(frozen=True)
class Gain:
    """Mean IoU of the same images before and after a change.

    Attributes:
        before: Mean IoU before, 0..1.
        after: Mean IoU after.
        low: Lower end of the 95 % interval of `after - before`.
        high: Upper end of the interval.
        resamples: Number of resamples.
    """

    before: float
    after: float
    low: float
    high: float
    resamples: int

    @property
    def gain(self) -> float:
        return self.after - self.before


def iou_counts(confusion: Counts) -> Counts:
    """Reduce a (K, K) confusion matrix to (2, K) intersections and unions of the classes."""
    hits = np.diag(confusion)
    return np.stack([hits, confusion.sum(0) + confusion.sum(1) - hits])


def bootstrap_gain(before: Counts, after: Counts, *, resamples: int = 1000, seed: int = 0) -> Gain:
    """Measure a gain in mean IoU with its 95 % interval (percentile bootstrap).

    Each resample draws N of the N images with replacement, the same ones for before and after. The
    interval is the middle 95 % of the gains.

    Args:
        before: (N, 2, K): `iou_counts` of each image.
        after: (N, 2, K) of the same images.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Raises:
        InputError: If the two differ in shape, or there is no image or draw.

    Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    if before.shape != after.shape or before.ndim != 3 or not len(before):
        raise InputError(
            f"counts are {before.shape} before and {after.shape} after; both must be (N, 2, K) of "
            "the same N images, at least one"
        )
    if resamples < 1:
        raise InputError(f"resamples is {resamples}; it must be 1 or more")
    rng = np.random.default_rng(seed)
    shares = np.full(len(before), 1 / len(before))
    gains: list[Floats] = []
    for start in range(0, resamples, BLOCK):
        times = rng.multinomial(len(before), shares, min(BLOCK, resamples - start))
        gains.append(_mious(times, after) - _mious(times, before))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(gains), (tail, 1 - tail))
    once = np.ones((1, len(before)), np.int64)
    return Gain(
        float(_mious(once, before)[0]),
        float(_mious(once, after)[0]),
        float(low),
        float(high),
        resamples,
    )


def _mious(times: Counts, counts: Counts) -> Floats:
    """Return the mean IoU of each resample, (R,); `times` counts its images, (R, N)."""
    hits, unions = (times @ counts[:, part] for part in (0, 1))  # (R, K)
    iou = np.divide(hits, unions, out=np.zeros(hits.shape), where=unions > 0)
    return iou.sum(1) / np.maximum((unions > 0).sum(1), 1)
