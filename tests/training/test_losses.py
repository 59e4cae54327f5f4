"""The training losses against stored values of the reference port and of the Caffe network."""

from pathlib import Path

import torch
from torch.nn import functional as F

from atrous.training.losses import cross_entropy, multiscale_losses

GOLDEN = Path(__file__).parents[1] / "golden/network"


def random_maps(seed, sizes, classes=4):
    generator = torch.Generator().manual_seed(seed)
    maps = [
        torch.randn(2, classes, *size, generator=generator, dtype=torch.float64) for size in sizes
    ]
    labels = torch.randint(0, classes, (2, 33, 33), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
    return maps, labels


def test_cross_entropy_averages_over_known_pixels():
    (logits,), labels = random_maps(0, [(33, 33)])
    expected = F.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(cross_entropy(logits, labels), expected)


def test_cross_entropy_of_unknown_pixels_alone_is_zero_with_zero_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_class_weights_multiply_each_pixel():
    (logits,), labels = random_maps(1, [(33, 33)])
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    each = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
    known = labels != 255
    expected = (each * weights[labels.clamp(max=3)])[known].sum() / known.sum()
    torch.testing.assert_close(cross_entropy(logits, labels, class_weights=weights), expected)


def test_a_single_scale_has_one_loss_on_every_eighth_label():
    (logits,), labels = random_maps(2, [(5, 5)])
    (loss,) = multiscale_losses([logits], labels, align_corners=True)
    expected = F.cross_entropy(logits, labels[:, ::8, ::8], ignore_index=255)
    torch.testing.assert_close(loss, expected)


def test_caffe_compares_the_middle_scale_at_full_size_and_the_half_scale_at_its_own():
    maps, labels = random_maps(3, [(5, 5), (4, 4), (3, 3)])
    losses = multiscale_losses(maps, labels, align_corners=True)
    up = F.interpolate(maps[1], size=(5, 5), mode="bilinear", align_corners=True)
    torch.testing.assert_close(losses[2], cross_entropy(up, labels[:, ::8, ::8]))
    torch.testing.assert_close(losses[3], cross_entropy(maps[2], labels[:, ::16, ::16]))


def test_losses_at_pixels_leave_labels_whole():
    maps, labels = random_maps(4, [(5, 5)])
    (loss,) = multiscale_losses(maps, labels, align_corners=True, at_pixels=True)
    up = F.interpolate(maps[0], size=(33, 33), mode="bilinear", align_corners=True)
    torch.testing.assert_close(loss, cross_entropy(up, labels))
