"""Resizing of images, scores and labels, in both corner conventions."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from atrous.resize import rescale, resize_image, resize_labels, resize_logits

CONVENTIONS = pytest.mark.parametrize("align_corners", [True, False])


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@CONVENTIONS
@pytest.mark.parametrize("size_hw", [(1, 1), (3, 11), (13, 9), (5, 40)])
def test_scores_equal_the_oracle(
    bilinear: ModuleType, align_corners: bool, size_hw: tuple[int, int]
) -> None:
    logits = noise(2, 3, 5, 7)
    expected = bilinear.resize(logits.numpy(), size_hw, align_corners=align_corners)
    resized = resize_logits(logits, size_hw, align_corners=align_corners)
    np.testing.assert_allclose(resized.numpy(), expected, atol=1e-12)


@CONVENTIONS
def test_equal_size_returns_the_scores_themselves(align_corners: bool) -> None:
    logits = noise(1, 2, 5, 7)
    assert resize_logits(logits, (5, 7), align_corners=align_corners) is logits


def test_corners_stay_where_they_are_in_caffes_convention() -> None:
    logits = noise(1, 1, 5, 7)
    resized = resize_logits(logits, (33, 49), align_corners=True)
    torch.testing.assert_close(resized[..., ::8, ::8], logits)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        (321, 0.75, 241),
        (321, 0.5, 161),
        (513, 0.75, 385),
        (513, 0.5, 257),
        (97, 1.5, 145),
        (1, 0.5, 1),
        (2, 0.5, 1),
        (101, 0.29, 30),
        (65, 0.7, 45),
        (60, 0.33, 20),
    ],
)
def test_corner_aligned_sizes_are_interps(size: int, scale: float, expected: int) -> None:
    image = torch.empty(1, 3, size, 33, device="meta")
    assert rescale(image, scale, align_corners=True).shape[-2] == expected


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [(321, 0.75, 240), (321, 0.5, 160), (97, 0.75, 72), (1, 0.5, 1), (5, 1.5, 7)],
)
def test_other_sizes_are_torchs(size: int, scale: float, expected: int) -> None:
    image = torch.empty(1, 3, size, 33, device="meta")
    assert rescale(image, scale, align_corners=False).shape[-2] == expected


@CONVENTIONS
@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5])
def test_rescaled_pixels_equal_the_oracle(
    bilinear: ModuleType, align_corners: bool, scale: float
) -> None:
    image = noise(1, 3, 11, 14)
    resized = rescale(image, scale, align_corners=align_corners).numpy()
    expected = bilinear.resize(
        image.numpy(),
        resized.shape[-2:],
        align_corners=align_corners,
        steps_hw=None if align_corners else (1 / scale, 1 / scale),
    )
    np.testing.assert_allclose(resized, expected, atol=1e-12)


@CONVENTIONS
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 1)])
@pytest.mark.parametrize("scale", [0.1, 0.5, 0.75, 3])
def test_tiny_images_keep_a_pixel(align_corners: bool, size: tuple[int, int], scale: float) -> None:
    resized = rescale(noise(1, 3, *size), scale, align_corners=align_corners)
    assert min(resized.shape[-2:]) >= 1
    assert resized.isfinite().all()


@CONVENTIONS
def test_scale_1_returns_the_image_itself(align_corners: bool) -> None:
    image = noise(1, 3, 4, 5)
    assert rescale(image, 1.0, align_corners=align_corners) is image


@pytest.mark.parametrize("shrink", [8, 16])
@pytest.mark.parametrize("size", [33, 65, 321, 513])
def test_labels_shrink_to_every_8th_or_16th_pixel(shrink: int, size: int) -> None:
    labels = torch.arange(size * size).view(1, size, size)
    target = (size - 1) // shrink + 1
    shrunk = resize_labels(labels, (target, target), align_corners=True)
    assert torch.equal(shrunk, labels[:, ::shrink, ::shrink])


@CONVENTIONS
@pytest.mark.parametrize(("source", "target"), [(1, 1), (1, 5), (7, 1), (6, 9), (13, 4), (10, 35)])
def test_labels_are_the_nearest_pixels(align_corners: bool, source: int, target: int) -> None:
    labels = torch.arange(source).view(1, source, 1)
    expected = []
    for i in range(target):
        if align_corners:
            position = Fraction(i * (source - 1), max(target - 1, 1))
            expected.append(floor(position + Fraction(1, 2)))
        else:
            expected.append(floor((i + Fraction(1, 2)) * source / target))
    resized = resize_labels(labels, (target, 1), align_corners=align_corners)
    assert resized.flatten().tolist() == expected


@CONVENTIONS
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_labels_are_never_mixed(align_corners: bool, dtype: torch.dtype) -> None:
    labels = torch.tensor([[[0, 255], [255, 3]]], dtype=dtype)
    resized = resize_labels(labels, (7, 5), align_corners=align_corners)
    assert resized.dtype == dtype
    assert set(resized.flatten().tolist()) == {0, 3, 255}


@CONVENTIONS
@pytest.mark.parametrize("size_hw", [(5, 9), (13, 40), (1, 1)])
def test_images_are_rounded_bilinear(
    bilinear: ModuleType, align_corners: bool, size_hw: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, 3, 11, 17), generator=generator, dtype=torch.uint8)
    resized = resize_image(pixels, size_hw, align_corners=align_corners)
    expected = bilinear.resize(pixels.numpy(), size_hw, align_corners=align_corners)
    assert resized.dtype == torch.uint8
    assert np.abs(resized.numpy().astype(float) - expected).max() <= 1  # fixed-point weights


@CONVENTIONS
def test_image_of_equal_size_is_returned_itself(align_corners: bool) -> None:
    pixels = torch.zeros(1, 3, 4, 5, dtype=torch.uint8)
    assert resize_image(pixels, (4, 5), align_corners=align_corners) is pixels
