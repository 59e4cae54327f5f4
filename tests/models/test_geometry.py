"""Strides that turn into dilation."""

from __future__ import annotations

import pytest
from torch import nn

from atrous.models.geometry import conv_geometry, stage_geometry


@pytest.mark.parametrize(
    ("output_stride", "expected"),
    [
        (32, [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1)]),
        (16, [(1, 1, 1), (2, 1, 1), (2, 1, 1), (1, 1, 2)]),
        (8, [(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)]),
    ],
)
def test_resnet_stages(output_stride: int, expected: list[tuple[int, int, int]]) -> None:
    geometry = stage_geometry((1, 2, 2, 2), stride_before=4, output_stride=output_stride)
    assert geometry == expected


def test_stages_behind_a_lost_stride_keep_its_dilation() -> None:
    geometry = stage_geometry((2, 2, 1, 2), stride_before=2, output_stride=4)
    assert geometry == [(2, 1, 1), (1, 1, 2), (1, 2, 2), (1, 2, 4)]


@pytest.mark.parametrize(("kernel", "dilation", "padding"), [(1, 4, 0), (3, 2, 2), (5, 3, 6)])
def test_convolution_stays_centred(kernel: int, dilation: int, padding: int) -> None:
    conv = nn.Conv2d(2, 2, kernel)
    conv_geometry(conv, stride=2, dilation=dilation)
    assert (conv.stride, conv.dilation, conv.padding) == (
        (2, 2),
        (dilation, dilation),
        (padding, padding),
    )
