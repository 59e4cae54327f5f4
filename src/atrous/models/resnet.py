"""ResNet-18, 50 and 101 with atrous convolutions in place of the last strides.

Parameter names are torchvision's (`conv1`, `bn1`, `layer1.0.conv1`, …, `layer1.0.downsample.0`).
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from .geometry import conv_geometry, stage_geometry
from .recompute import run_block

BN_EPS = 1e-5


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


def projection(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(conv1x1(in_channels, out_channels), nn.BatchNorm2d(out_channels, BN_EPS))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet-18)."""

    expansion = 1

    def __init__(self, in_channels: int, mid_channels: int, *, project: bool) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, mid_channels)
        self.bn1 = nn.BatchNorm2d(mid_channels, BN_EPS)
        self.conv2 = conv3x3(mid_channels, mid_channels)
        self.bn2 = nn.BatchNorm2d(mid_channels, BN_EPS)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(in_channels, mid_channels) if project else None

    def set_geometry(self, *, stride: int, dilation_before: int, dilation: int) -> None:
        conv_geometry(self.conv1, stride=stride, dilation=dilation_before)
        conv_geometry(self.conv2, dilation=dilation)
        if self.downsample is not None:
            conv_geometry(self.downsample[0], stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu(x + shortcut)


class Bottleneck(nn.Module):
    """1x1 reduce, 3x3, 1x1 increase, and a shortcut (ResNet-50 and ResNet-101).

    Caffe's weights expect the stride in the first 1x1, torchvision's in the 3x3. Either file loads
    with either setting without an error, but with the wrong one the network predicts badly.
    """

    expansion = 4

    def __init__(
        self, in_channels: int, mid_channels: int, *, project: bool, stride_in_1x1: bool
    ) -> None:
        super().__init__()
        out_channels = mid_channels * self.expansion
        self.stride_in_1x1 = stride_in_1x1
        self.conv1 = conv1x1(in_channels, mid_channels)
        self.bn1 = nn.BatchNorm2d(mid_channels, BN_EPS)
        self.conv2 = conv3x3(mid_channels, mid_channels)
        self.bn2 = nn.BatchNorm2d(mid_channels, BN_EPS)
        self.conv3 = conv1x1(mid_channels, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels, BN_EPS)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(in_channels, out_channels) if project else None

    def set_geometry(self, *, stride: int, dilation_before: int, dilation: int) -> None:
        if self.stride_in_1x1:
            conv_geometry(self.conv1, stride=stride)
            conv_geometry(self.conv2, dilation=dilation)
        else:
            # The 3x3 that had the stride still reads the grid before that stride.
            conv_geometry(self.conv2, stride=stride, dilation=dilation_before)
        if self.downsample is not None:
            conv_geometry(self.downsample[0], stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.relu(x + shortcut)


class ResNet(nn.Module):
    """Features at 1/8 or 1/16 of the input size: the last stages are dilated, not strided."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        *,
        output_stride: int = 8,
        **block_options: bool,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64, BN_EPS)
        self.relu = nn.ReLU(inplace=True)
        # Caffe rounds pooled sizes up: 161 becomes 81 either way, but 188 becomes 95, not 94.
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        channels = 64
        for stage, depth in enumerate(depths):
            mid_channels = 64 * 2**stage
            blocks = []
            for index in range(depth):
                out_channels = mid_channels * block.expansion
                # Only ResNet-18's first stage keeps both its size and its channels.
                project = index == 0 and (stage > 0 or channels != out_channels)
                blocks.append(block(channels, mid_channels, project=project, **block_options))
                channels = out_channels
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.channels = channels
        self.recompute_blocks = False
        self.set_output_stride(output_stride)
        self._initialise()

    def stages(self) -> list[nn.Sequential]:
        return [cast(nn.Sequential, getattr(self, f"layer{number}")) for number in (1, 2, 3, 4)]

    def set_output_stride(self, output_stride: int) -> None:
        """Replace strides beyond `output_stride` by dilation; the weights do not change."""
        geometry = stage_geometry((1, 2, 2, 2), stride_before=4, output_stride=output_stride)
        for stage, (stride, dilation_before, dilation) in zip(self.stages(), geometry, strict=True):
            for index, block in enumerate(stage):
                cast(BasicBlock | Bottleneck, block).set_geometry(
                    stride=stride if index == 0 else 1,
                    dilation_before=dilation_before if index == 0 else dilation,
                    dilation=dilation,
                )

    def first_layers(self, num_stages: int) -> list[nn.Module]:
        """Return the stem and the first stages, in order."""
        return [self.conv1, self.bn1, *self.stages()[:num_stages]]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 64, H/4, W/4)
        for stage in self.stages():
            for block in stage:
                x = run_block(block, x, recompute=self.recompute_blocks)
        return x  # (N, channels, H/8, W/8)


def resnet18(*, output_stride: int = 8) -> ResNet:
    return ResNet(BasicBlock, (2, 2, 2, 2), output_stride=output_stride)


def resnet50(*, output_stride: int = 8, stride_in_1x1: bool = True) -> ResNet:
    return ResNet(
        Bottleneck, (3, 4, 6, 3), output_stride=output_stride, stride_in_1x1=stride_in_1x1
    )


def resnet101(*, output_stride: int = 8, stride_in_1x1: bool = True) -> ResNet:
    return ResNet(
        Bottleneck, (3, 4, 23, 3), output_stride=output_stride, stride_in_1x1=stride_in_1x1
    )
