"""Stride against dilation: the arithmetic of atrous convolution, shared by the backbones.

A stage that gives up a stride of 2 and doubles the dilation of everything behind it computes the
same function at twice as many positions (paper, section 3.1). The weights do not change.
"""

from __future__ import annotations

from torch import nn


def stage_geometry(
    strides: tuple[int, ...], *, stride_before: int, output_stride: int
) -> list[tuple[int, int, int]]:
    """Say what each stage does so that the features end at 1/`output_stride`.

    Args:
        strides: The stride of each stage in the classification network.
        stride_before: Stride of the layers in front of the stages.
        output_stride: The stride that must not be passed.

    Returns:
        Per stage: stride kept, dilation in front of its stride, dilation behind it.
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
    """Set stride and dilation of a convolution; the padding keeps it centred."""
    assert isinstance(conv, nn.Conv2d)
    conv.stride = (stride, stride)
    conv.dilation = (dilation, dilation)
    conv.padding = (
        dilation * (conv.kernel_size[0] - 1) // 2,
        dilation * (conv.kernel_size[1] - 1) // 2,
    )


def zero_bias(conv: nn.Conv2d) -> None:
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
