"""The depthwise convolution with a fast backward pass equals the plain one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atrous.models.depthwise import DepthwiseConv2d
from atrous.models.geometry import conv_geometry


def layer(kernel: int, *, stride: int = 1, dilation: int = 1) -> DepthwiseConv2d:
    torch.manual_seed(0)
    conv = DepthwiseConv2d(6, kernel).double()
    conv_geometry(conv, stride=stride, dilation=dilation)
    return conv


def image(*size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 6, *size, generator=generator, dtype=torch.float64, requires_grad=True)


def plain(x: Tensor, conv: nn.Conv2d) -> Tensor:
    return F.conv2d(
        x,
        conv.weight,
        conv.bias,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=conv.groups,
    )


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (1, 4)])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (9, 16), (17, 13)])
def test_values_and_gradients_equal_the_plain_convolution(
    kernel: int, stride: int, dilation: int, size: tuple[int, int]
) -> None:
    conv, x = layer(kernel, stride=stride, dilation=dilation), image(*size)
    ours, theirs = conv(x), plain(x, conv)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2)).double()
    expected = torch.autograd.grad((theirs * weights).sum(), [x, conv.weight])
    actual = torch.autograd.grad((ours * weights).sum(), [x, conv.weight])
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_bias_is_added_with_and_without_gradients(dilation: int) -> None:
    generator = torch.Generator().manual_seed(3)
    conv, x = layer(5, dilation=dilation), image(9, 16)
    conv.bias = nn.Parameter(torch.randn(6, generator=generator, dtype=torch.float64))
    reference = nn.Conv2d(6, 6, 5, padding=2 * dilation, dilation=dilation, groups=6).double()
    reference.load_state_dict(conv.state_dict())
    expected = reference(x)
    torch.testing.assert_close(conv(x), expected)
    with torch.no_grad():
        torch.testing.assert_close(conv(x), expected)
    torch.testing.assert_close(
        torch.autograd.grad(conv(x).square().sum(), [x, *conv.parameters()]),
        torch.autograd.grad(expected.square().sum(), [x, *reference.parameters()]),
    )


def test_frozen_filter_still_passes_the_gradient_on() -> None:
    conv, x = layer(3, dilation=2), image(9, 9)
    conv.weight.requires_grad_(False)
    (grad,) = torch.autograd.grad(conv(x).sum(), x)
    (expected,) = torch.autograd.grad(plain(x, conv).sum(), x)
    torch.testing.assert_close(grad, expected)


def test_parameters_are_those_of_a_grouped_convolution() -> None:
    ours = layer(5).state_dict()
    theirs = nn.Conv2d(6, 6, 5, groups=6, bias=False).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
