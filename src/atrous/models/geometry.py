"""Arithmetic of strides and dilation, shared by the backbones.

Removing a stride of 2 and doubling the dilation of all later layers computes the same function at
twice as many positions along each axis (paper, section 3.1). The weights do not change.
"""

from __future__ import annotations

from torch import nn


def stage_geometry(
    strides: tuple[int, ...], *, stride_before: int, output_stride: int
) -> list[tuple[int, int, int]]:
    """Distribute stride and dilation over the stages for features at 1/`output_stride`.

    Args:
        strides: The stride of each stage in the classification network.
        stride_before: Stride of the layers before the stages.
        output_stride: Total stride that must not be exceeded; further strides become dilation.

    Returns:
        Per stage: the stride, the dilation before its stride, the dilation after it.
    """
    reached, dilation = stride_before, 1
    geometry = []
    for stride in strides:
        dilation_before = dilation
        if reached * stride > output_stride:
            dilation *= stride
            stride = 1
        reached *= stride
        geometry.append((stride, dilation_before, dilation))
    return geometry


def conv_geometry(conv: nn.Module, *, stride: int = 1, dilation: int = 1) -> None:
    """Set stride and dilation of a convolution, with the padding that keeps it centred."""
    assert isinstance(conv, nn.Conv2d)
    conv.stride = (stride, stride)
    conv.dilation = (dilation, dilation)
    conv.padding = (
        dilation * (conv.kernel_size[0] - 1) // 2,
        dilation * (conv.kernel_size[1] - 1) // 2,
    )


def ceil_divide(n: int, divisor: int) -> int:
    """Divide whole numbers, rounding up."""
    # Not -(-n // divisor): ONNX's integer division truncates towards zero, so the exported graph
    # would round down.
    return (n + divisor - 1) // divisor


def zero_bias(conv: nn.Conv2d) -> None:
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
