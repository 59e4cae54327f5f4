"""Normalisation and padding against their definition, and the door of `Preprocess`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from atrous.preprocess import CAFFE_MEAN_BGR, Preprocess


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_caffe_default_is_bgr_minus_mean() -> None:
    image = photo(9, 17)
    expected = image[..., ::-1].astype(np.float32) - np.array(CAFFE_MEAN_BGR, np.float32)
    tensor = Preprocess()(image)
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor[0].permute(1, 2, 0).numpy(), expected, rtol=0, atol=1e-5)


def test_rgb_with_std_is_centred_and_scaled() -> None:
    image = photo(4, 5)
    how = Preprocess(channel_order="rgb", mean=(10, 20, 30), std=(2, 4, 8), padding="none")
    expected = (image.astype(np.float32) - (10, 20, 30)) / (2, 4, 8)
    np.testing.assert_allclose(how(image)[0].permute(1, 2, 0).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "single", "multi"),
    [(1, 1, 1), (2, 9, 33), (8, 9, 33), (9, 9, 33), (33, 33, 33), (34, 41, 65), (500, 505, 513)],
)
def test_padding_reaches_the_next_8k1_or_32k1(size: int, single: int, multi: int) -> None:
    image = photo(size, 9)
    assert Preprocess()(image).shape == (1, 3, single, 9)
    assert Preprocess()(image, is_multiscale=True).shape == (1, 3, multi, 33)


def test_padding_is_the_mean_at_bottom_and_right() -> None:
    image = photo(10, 12)
    padded = Preprocess()(image)
    np.testing.assert_array_equal(padded[0, :, :10, :12], Preprocess(padding="none")(image)[0])
    assert not padded[..., 10:, :].any()
    assert not padded[..., 12:].any()


def test_padding_none_keeps_the_size() -> None:
    assert Preprocess(padding="none")(photo(10, 12), is_multiscale=True).shape == (1, 3, 10, 12)


def test_tensor_shares_no_memory_with_the_image() -> None:
    image = photo(9, 9)
    tensor = Preprocess(channel_order="rgb", mean=(0, 0, 0), padding="none")(image)
    before = tensor.clone()
    image[:] = 0
    assert torch.equal(tensor, before)


def test_read_only_image_is_taken_without_warning() -> None:
    Preprocess(channel_order="rgb")(np.asarray(Image.new("RGB", (1, 1))))


def test_mirrored_view_is_taken() -> None:
    image = photo(9, 9)
    mirrored = Preprocess()(image[:, ::-1])
    assert torch.equal(mirrored, Preprocess()(image).flip(-1))


@pytest.mark.parametrize(
    ("image", "came"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32 of shape \(4, 4, 3\)"),
        (np.zeros((4, 4), np.uint8), r"uint8 of shape \(4, 4\)"),
        (np.zeros((3, 4, 4), np.uint8), r"uint8 of shape \(3, 4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 of shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 of shape \(0, 4, 3\)"),
    ],
)
def test_other_arrays_are_refused(image: Any, came: str) -> None:
    with pytest.raises(ValueError, match=f"{came}; give uint8 RGB"):
        Preprocess()(image)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"channel_order": "gbr"}, "channel_order is 'gbr'; it must be 'rgb' or 'bgr'"),
        ({"padding": "zero"}, "padding is 'zero'; it must be 'none' or 'mean_to_8k1'"),
        ({"mean": (1.0, 2.0)}, "each must be three numbers"),
        ({"std": (1.0, 0.0, 1.0)}, "std above 0"),
    ],
)
def test_unknown_values_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Preprocess(**options)
