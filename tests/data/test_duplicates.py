"""Near-duplicates: found when scaled, recompressed or mirrored; other pictures are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from atrous.data.duplicates import find_duplicates, fingerprint


def picture(seed: int, size_hw: tuple[int, int] = (120, 160)) -> NDArray[np.uint8]:
    """Paint smooth random colours, as photos have."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    size = (size_hw[1], size_hw[0])
    return np.array(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))


def recompress(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    encoded = io.BytesIO()
    Image.fromarray(image).resize((100, 75)).save(encoded, "JPEG", quality=50)
    return np.array(Image.open(encoded))


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_scaled_and_recompressed_picture_is_found(is_mirrored: bool) -> None:
    train = [fingerprint(picture(seed)) for seed in range(20)]
    copy = recompress(picture(7))
    val = [fingerprint(picture(100)), fingerprint(copy[:, ::-1] if is_mirrored else copy)]
    found = find_duplicates(train, val)
    assert [(pair.first, pair.second, pair.is_mirrored) for pair in found] == [(7, 1, is_mirrored)]


def test_different_pictures_are_not_duplicates() -> None:
    pictures = [fingerprint(picture(seed)) for seed in range(60)]
    assert not find_duplicates(pictures[:30], pictures[30:])


def test_pictures_without_structure_are_told_apart_by_brightness() -> None:
    flat = [fingerprint(np.full((40, 40, 3), grey, np.uint8)) for grey in (0, 100, 200)]
    assert not find_duplicates(flat[:1], flat[1:])


def test_a_symmetric_picture_is_reported_once() -> None:
    half = picture(3)
    whole = fingerprint(np.concatenate([half, half[:, ::-1]], axis=1))
    assert len(find_duplicates([whole], [whole])) == 1


def test_nothing_is_found_in_nothing() -> None:
    assert not find_duplicates([], [fingerprint(picture(0))])
    assert not find_duplicates([fingerprint(picture(0))], [])


def test_hash_is_that_of_a_plain_cosine_transform() -> None:
    image = fingerprint(picture(1)).thumbnail.astype(float)
    low = np.zeros((8, 8))
    for u in range(8):
        for v in range(8):
            rows = np.cos((2 * np.arange(32) + 1) * u * np.pi / 64)
            columns = np.cos((2 * np.arange(32) + 1) * v * np.pi / 64)
            low[u, v] = (image * np.outer(rows, columns)).sum()
    bits = (low.ravel() > np.median(low.ravel()[1:])).astype(int)
    assert fingerprint(picture(1)).bits == int("".join(map(str, bits)), 2)
