"""EfficientNet-Lite0: inverted residual blocks without squeeze-and-excitation, ReLU6 throughout.

Padding is symmetric, so that output positions form a grid that starts at the image's corner. For
odd sizes (such as the 8k+1 that DeepLab uses) this equals TensorFlow's SAME padding, with which the
weights were trained.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from .depthwise import DepthwiseConv2d
from .geometry import conv_geometry, stage_geometry
from .recompute import run_block

BN_EPS = 1e-3
BN_MOMENTUM = 0.01

# Kernel, expansion, output channels, number of blocks, stride of the first block.
STAGES = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, BN_EPS, BN_MOMENTUM)


class InvertedResidual(nn.Module):
    """1x1 expand, depthwise kxk, 1x1 project; a shortcut if input and output channels agree."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, expansion: int) -> None:
        super().__init__()
        mid_channels = in_channels * expansion
        self.has_shortcut = in_channels == out_channels
        self.expand = None
        if expansion > 1:
            self.expand = nn.Conv2d(in_channels, mid_channels, 1, bias=False)
            self.expand_bn = batch_norm(mid_channels)
        self.depthwise = DepthwiseConv2d(mid_channels, kernel)
        self.depthwise_bn = batch_norm(mid_channels)
        self.project = nn.Conv2d(mid_channels, out_channels, 1, bias=False)
        self.project_bn = batch_norm(out_channels)
        self.relu6 = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.expand is not None:
            y = self.relu6(self.expand_bn(self.expand(y)))
        y = self.relu6(self.depthwise_bn(self.depthwise(y)))
        y = self.project_bn(self.project(y))
        return x + y if self.has_shortcut else y


class EfficientNetLite0(nn.Module):
    """Features at 1/8 or 1/16 of the input size, 320 channels; without the classifier layers."""

    def __init__(self, *, output_stride: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self.stem_bn = batch_norm(32)
        self.relu6 = nn.ReLU6(inplace=True)
        self.stages = nn.ModuleList()
        channels = 32
        for kernel, expansion, out_channels, depth, _ in STAGES:
            blocks = []
            for _ in range(depth):
                blocks.append(
                    InvertedResidual(channels, out_channels, kernel=kernel, expansion=expansion)
                )
                channels = out_channels
            self.stages.append(nn.Sequential(*blocks))
        self.channels = channels
        self.recompute_blocks = False
        self.set_output_stride(output_stride)
        self._initialise()

    def set_output_stride(self, output_stride: int) -> None:
        """Replace strides beyond `output_stride` by dilation; the weights do not change."""
        strides = tuple(stage[-1] for stage in STAGES)
        geometry = stage_geometry(strides, stride_before=2, output_stride=output_stride)
        for stage, (stride, dilation_before, dilation) in zip(self.stages, geometry, strict=True):
            for index, block in enumerate(cast("list[InvertedResidual]", stage)):
                if index == 0:
                    conv_geometry(block.depthwise, stride=stride, dilation=dilation_before)
                else:
                    conv_geometry(block.depthwise, dilation=dilation)

    def first_layers(self, num_stages: int) -> list[nn.Module]:
        """Return the stem and the first stages, in order."""
        return [self.stem, self.stem_bn, *self.stages[:num_stages]]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu6(self.stem_bn(self.stem(x)))  # (N, 32, H/2, W/2)
        for stage in self.stages:
            for block in cast(nn.Sequential, stage):
                x = run_block(block, x, recompute=self.recompute_blocks)
        return x  # (N, 320, H/8, W/8)


def efficientnet_lite0(*, output_stride: int = 8) -> EfficientNetLite0:
    return EfficientNetLite0(output_stride=output_stride)
