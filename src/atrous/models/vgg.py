"""VGG-16 as DeepLab uses it: padded 3x3 pools, the last two without stride, and dilated conv5."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from .geometry import conv_geometry, zero_bias
from .recompute import recomputed

# Convolutions and output channels of each of the five stages.
STAGES = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


class VGG16(nn.Module):
    """Features after pool5 at 1/8 or 1/16 of the input size, 512 channels.

    Parameter names are the layer names of Caffe.
    """

    def __init__(self, *, output_stride: int = 8) -> None:
        super().__init__()
        channels = 3
        for stage, (depth, out_channels) in enumerate(STAGES, start=1):
            for index in range(1, depth + 1):
                self.add_module(
                    f"conv{stage}_{index}", nn.Conv2d(channels, out_channels, 3, padding=1)
                )
                channels = out_channels
        self.relu = nn.ReLU(inplace=True)
        self.pools = nn.ModuleList(
            nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True) for _ in STAGES
        )
        self.channels = channels
        self.recompute_blocks = False
        self.set_output_stride(output_stride)
        self._initialise()

    def convs(self, stage: int) -> list[nn.Conv2d]:
        depth = STAGES[stage - 1][0]
        return [getattr(self, f"conv{stage}_{index}") for index in range(1, depth + 1)]

    def set_output_stride(self, output_stride: int) -> None:
        """Set strides and dilation: at 16, pool4 is strided and conv5 is not dilated.

        Pool5 is never strided.
        """
        for number, pool in enumerate(self.pools, start=1):
            cast(nn.MaxPool2d, pool).stride = 2 if 2**number <= min(output_stride, 16) else 1
        for conv in self.convs(5):
            conv_geometry(conv, dilation=16 // output_stride)

    def first_layers(self, num_stages: int) -> list[nn.Module]:
        """Return the convolutions of the first stages, in order; VGG has no separate stem."""
        return [conv for stage in range(1, num_stages + 1) for conv in self.convs(stage)]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                zero_bias(module)

    def forward(self, x: Tensor) -> Tensor:
        for stage in range(1, len(STAGES) + 1):
            if self.recompute_blocks and torch.is_grad_enabled():
                x = recomputed(self._run_stage, x, stage, norms_of=self)
            else:
                x = self._run_stage(x, stage)
        return x  # (N, 512, H/8, W/8)

    def _run_stage(self, x: Tensor, stage: int) -> Tensor:
        for conv in self.convs(stage):
            x = self.relu(conv(x))
        return self.pools[stage - 1](x)


def vgg16(*, output_stride: int = 8) -> VGG16:
    return VGG16(output_stride=output_stride)
