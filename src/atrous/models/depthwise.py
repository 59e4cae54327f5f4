"""A depthwise convolution that is fast on the CPU when dilated, in training too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

# With larger padding oneDNN switches from its fast depthwise kernel to one ten times slower.
FAST_PADDING = 6


class DepthwiseConv2d(nn.Conv2d):
    """One filter per channel, without bias unless one is set; equals `nn.Conv2d(groups=channels)`.

    PyTorch's CPU kernels for *dilated* depthwise convolution are fast only in the forward pass and
    with small padding: at dilation 4, the forward pass of a 5x5 took ten times longer than needed,
    and the backward pass took half of a training step. Padding in a separate step fixes the forward
    pass. The gradient of the input is the forward convolution with the flipped filter. The gradient
    of the filter is an undilated convolution on the d^2 interleaved subgrids, because a dilated
    convolution never mixes two of them.
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
            output = _DilatedDepthwise.apply(input, self.weight, self.dilation[0])
            # Folding a batch norm into this layer sets a bias.
            return output if self.bias is None else output + self.bias.view(-1, 1, 1)
        return _convolve(input, self.weight, self.dilation[0], self.bias)


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


def _convolve(x: Tensor, weight: Tensor, dilation: int, bias: Tensor | None = None) -> Tensor:
    padding = dilation * (weight.shape[-1] // 2)
    if padding > FAST_PADDING:
        x, padding = F.pad(x, (padding, padding, padding, padding)), 0
    return F.conv2d(x, weight, bias, padding=padding, dilation=dilation, groups=x.shape[1])


def _weight_gradient(x: Tensor, grad: Tensor, weight: Tensor, dilation: int) -> Tensor:
    return conv2d_weight(
        _subgrids(x, dilation),
        weight.shape,
        _subgrids(grad, dilation),
        padding=weight.shape[-1] // 2,
        groups=x.shape[1],
    )


def _subgrids(x: Tensor, dilation: int) -> Tensor:
    """Split a grid into its d^2 interleaved subgrids: (N, C, H, W) -> (N d^2, C, H/d, W/d)."""
    _channels, height, width = x.shape[1:]
    x = F.pad(x, (0, -width % dilation, 0, -height % dilation))
    x = x.unflatten(3, (-1, dilation)).unflatten(2, (-1, dilation))  # (N, C, H/d, d, W/d, d)
    x = x.permute(0, 3, 5, 1, 2, 4).flatten(0, 2)
    return x.contiguous(memory_format=torch.channels_last)
