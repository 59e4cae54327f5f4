"""Find near-duplicate images with a perceptual hash."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
LOW = 8  # the hash keeps the signs of the 8x8 lowest frequencies
MOST_DIFFERENT_BITS = 10
MOST_DIFFERENT_GREY = 6.0
"""Mean difference of two 32x32 thumbnails, of 255. Measured on CamVid: at most 1.5 after halving
and saving at JPEG quality 60, 2-4 between frames from a parked car, 18 and more between train and
val."""


@dataclass(frozen=True)
class Fingerprint:
    """Perceptual hash and thumbnail of an image.

    Attributes:
        thumbnail: (32, 32) uint8 grey.
        bits: The hash, 64 bits.
    """

    thumbnail: NDArray[np.uint8]
    bits: int


@dataclass(frozen=True)
class Duplicate:
    """Two near-duplicate images, as indices into the two lists that were compared."""

    first: int
    second: int
    is_mirrored: bool


def fingerprint(image: NDArray[np.uint8]) -> Fingerprint:
    """Compute the fingerprint of an (H, W, 3) uint8 image."""
    small = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    thumbnail = np.array(small)
    return Fingerprint(thumbnail, _hash(thumbnail))


def find_duplicates(first: list[Fingerprint], second: list[Fingerprint]) -> list[Duplicate]:
    """Find images of one list that are also in the other, mirrored or not.

    Pairs with similar hashes are confirmed by comparing their thumbnails.
    """
    if not first or not second:
        return []
    second_bits = np.array([item.bits for item in second], np.uint64)
    found: list[Duplicate] = []
    for index, item in enumerate(first):
        for is_mirrored in (False, True):
            thumbnail = item.thumbnail[:, ::-1] if is_mirrored else item.thumbnail
            bits = np.uint64(_hash(thumbnail)) if is_mirrored else np.uint64(item.bits)
            for other in np.flatnonzero(_count_bits(second_bits ^ bits) <= MOST_DIFFERENT_BITS):
                difference = thumbnail.astype(np.float32) - second[other].thumbnail
                if np.abs(difference).mean() <= MOST_DIFFERENT_GREY:
                    found.append(Duplicate(index, int(other), is_mirrored))
    return list({(pair.first, pair.second): pair for pair in reversed(found)}.values())[::-1]


def _hash(thumbnail: NDArray[np.uint8]) -> int:
    """Compare the low DCT frequencies with their median (pHash, Zauner 2010)."""
    low = _COSINES @ thumbnail.astype(np.float64) @ _COSINES.T
    values = low.ravel()
    bits = values > np.median(values[1:])  # [0] is the brightness
    return int(np.packbits(bits).view(">u8")[0])


def _cosines() -> NDArray[np.float64]:
    """Rows of the DCT-II matrix for the lowest frequencies: (8, 32)."""
    places = (2 * np.arange(SIDE) + 1) * np.pi / (2 * SIDE)
    return np.cos(np.outer(np.arange(LOW), places))


_COSINES = _cosines()
_BITS_OF_A_BYTE = np.array([value.bit_count() for value in range(256)], np.uint8)


def _count_bits(numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    # np.bitwise_count needs numpy 2.0; this works with 1.26.
    return _BITS_OF_A_BYTE[numbers.view(np.uint8).reshape(-1, 8)].sum(axis=1, dtype=np.int64)
