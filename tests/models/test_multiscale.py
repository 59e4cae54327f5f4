"""Fusing the scores of several scales."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from atrous.models.multiscale import fuse_scales


def maps(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, *size, generator=generator, dtype=torch.float64) for size in sizes]


@pytest.mark.parametrize("align_corners", [True, False])
def test_fusion_is_the_maximum_at_the_first_size(bilinear: ModuleType, align_corners: bool) -> None:
    logits = maps((9, 13), (7, 10), (5, 7), (14, 20))
    expected = bilinear.fuse([scores.numpy() for scores in logits], align_corners=align_corners)
    fused = fuse_scales(logits, align_corners=align_corners)
    np.testing.assert_allclose(fused.numpy(), expected, atol=1e-12)


def test_one_scale_is_left_as_it_is() -> None:
    logits = maps((9, 13))
    assert fuse_scales(logits, align_corners=True) is logits[0]


def test_fusion_leaves_its_inputs_alone() -> None:
    logits = maps((5, 5), (5, 5))
    before = [scores.clone() for scores in logits]
    fuse_scales(logits, align_corners=True)
    assert all(torch.equal(a, b) for a, b in zip(logits, before, strict=True))


def test_order_of_the_smaller_scales_does_not_matter() -> None:
    first, second, third = maps((9, 9), (7, 7), (5, 5))
    one = fuse_scales([first, second, third], align_corners=True)
    assert torch.equal(one, fuse_scales([first, third, second], align_corners=True))
