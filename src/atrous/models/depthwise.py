"""A depthwise convolution whose dilated form is also quick to train on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

# Past this padding oneDNN leaves its quick depthwise kernel, for one ten times slower.
QUICK_PADDING = 6


class DepthwiseConv2d(nn.Conv2d):
    """One filter a channel, without bias; equal to `nn.Conv2d(groups=channels)` in every value.

    PyTorch's CPU kernels for *dilated* depthwise convolution are quick for small padding and
    forward
    alone: at dilation 4 the forward pass of a 5x5 was ten times slower than need be, and the
    backward pass took half of a training step. Padding apart mends the first. Both gradients have a
    quicker form: that of the input is the forward convolution with the flipped filter, that of the
    filter is undilated on the phases of the grid, which never meet inside a dilated convolution.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(
            channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False
        )

    def forward(self, input: Tensor) -> Tensor:  # nn.Conv2d's name
        is_dilated = self.dilation != (1, 1) and self.stride == (1, 1)
        if not is_dilated or input.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(input)
        if torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu"):
            return _DilatedDepthwise.apply(input, self.weight, self.dilation[0])
        return _convolve(input, self.weight, self.dilation[0])


class _DilatedDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return _convolve(x, weight, dilation)

    @staticmethod
    @once_differentiable  # its wrapper hides the names of the parameters from the type checker
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = _convolve(grad, weight.flip(2, 3), ctx.dilation)
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(x, grad, weight, ctx.dilation)
        return grad_x, grad_weight, None


def _convolve(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    padding = dilation * (weight.shape[-1] // 2)
    if padding > QUICK_PADDING:
        x, padding = F.pad(x, (padding, padding, padding, padding)), 0
    return F.conv2d(x, weight, padding=padding, dilation=dilation, groups=x.shape[1])


def _weight_gradient(x: Tensor, grad: Tensor, weight: Tensor, dilation: int) -> Tensor:
    return conv2d_weight(
        _phases(x, dilation),
        weight.shape,
        _phases(grad, dilation),
        padding=weight.shape[-1] // 2,
        groups=x.shape[1],
    )


def _phases(x: Tensor, dilation: int) -> Tensor:
    """Part a grid into its d^2 interleaved ones: (N, C, H, W) -> (N d^2, C, H/d, W/d)."""
    _channels, height, width = x.shape[1:]
    x = F.pad(x, (0, -width % dilation, 0, -height % dilation))
    x = x.unflatten(3, (-1, dilation)).unflatten(2, (-1, dilation))  # (N, C, H/d, d, W/d, d)
    x = x.permute(0, 3, 5, 1, 2, 4).flatten(0, 2)
    return x.contiguous(memory_format=torch.channels_last)
