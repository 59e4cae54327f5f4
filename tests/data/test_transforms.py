"""Joint augmentation: what happens to the image happens to its labels."""

import numpy as np
import pytest
import torch

from atrous.data.transforms import TrainTransform
from atrous.preprocess import Preprocess

PLAIN = Preprocess("rgb", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "none")


def striped(height, width):
    """An image whose red channel is its label map."""
    labels = (np.arange(width) // 8 % 5)[None].repeat(height, 0).astype(np.uint8)
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = labels
    return image, labels


@pytest.mark.parametrize("seed", range(6))
def test_labels_follow_the_image_through_crop_and_mirror(seed):
    image, labels = striped(60, 90)
    transform = TrainTransform(PLAIN, (33, 41), (1.0,))
    x, y = transform(image, labels, np.random.default_rng(seed))
    assert x.shape == (3, 33, 41)
    assert y.shape == (33, 41)
    assert torch.equal(x[0].long(), y)


def test_small_images_are_padded_at_the_bottom_and_right():
    image, labels = striped(10, 20)
    preprocess = Preprocess("bgr", (10.0, 20.0, 30.0), (2.0, 2.0, 2.0), "none")
    transform = TrainTransform(preprocess, (16, 32), (1.0,), mirror=False)
    x, y = transform(image, labels, np.random.default_rng(0))
    assert (y[10:] == 255).all()
    assert (y[:, 20:] == 255).all()
    assert (y[:10, :20] != 255).all()
    assert (x[:, 10:] == 0).all()
    assert (x[:, :, 20:] == 0).all()
    assert (x[0, :10, :20] == -5).all()  # blue 0 minus 10, halved


def test_scales_are_drawn_from_the_list():
    image, labels = striped(40, 40)
    transform = TrainTransform(PLAIN, (60, 60), (0.5, 1.0, 1.5), mirror=False)
    rng = np.random.default_rng(0)
    known = {int((transform(image, labels, rng)[1] != 255).sum()) for _ in range(30)}
    assert known == {20 * 20, 40 * 40, 60 * 60}


def test_scaled_labels_are_never_mixed():
    image, labels = striped(40, 80)
    labels[labels == 2] = 255
    transform = TrainTransform(PLAIN, (97, 97), (0.75, 1.25), mirror=False)
    rng = np.random.default_rng(0)
    for _ in range(8):
        assert set(transform(image, labels, rng)[1].unique().tolist()) <= {0, 1, 3, 4, 255}


def test_half_of_the_samples_are_mirrored():
    image, labels = striped(16, 40)
    transform = TrainTransform(PLAIN, (16, 40), (1.0,))
    rng = np.random.default_rng(0)
    straight = torch.from_numpy(labels.astype(np.int64))
    mirrored = sum(not torch.equal(transform(image, labels, rng)[1], straight) for _ in range(200))
    assert 70 < mirrored < 130


def test_one_pixel_images_survive_the_smallest_scale():
    transform = TrainTransform(PLAIN, (9, 9), (0.5,))
    x, y = transform(
        np.full((1, 1, 3), 7, np.uint8), np.zeros((1, 1), np.uint8), np.random.default_rng(0)
    )
    assert int((y != 255).sum()) == 1
    assert float(x.sum()) == 21
