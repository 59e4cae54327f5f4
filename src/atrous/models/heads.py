"""Heads, which turn features into class scores, and learned upsampling of the scores."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError
from .geometry import ceil_divide, conv_geometry, zero_bias

ASPP_RATES = (6, 12, 18, 24)
ASPP_S_RATES = (2, 4, 8, 12)
LARGEFOV_RATES = (12,)
# Head -> its rates at output stride 8; None without atrous branches.
RATES: dict[str, tuple[int, ...] | None] = {
    "aspp": ASPP_RATES,
    "aspp_s": ASPP_S_RATES,
    "largefov": LARGEFOV_RATES,
    "conv1x1": None,
    "aspp_concat": ASPP_RATES,
}
CONCAT_CHANNELS = 256


class SummedConvs(nn.Module):
    """Parallel atrous convolutions from features to class scores, summed (paper, section 3.2).

    One 3x3 branch per rate; a single 1x1 convolution without rates.
    """

    def __init__(self, in_channels: int, num_classes: int, rates: tuple[int, ...] | None) -> None:
        super().__init__()
        kernels = [3] * len(rates) if rates else [1]
        self.branches = nn.ModuleList(_classifier(in_channels, num_classes, k) for k in kernels)
        if rates:
            self.set_rates(rates)

    def set_rates(self, rates: tuple[int, ...]) -> None:
        for conv, rate in zip(self.branches, rates, strict=True):
            conv_geometry(conv, dilation=rate)

    def forward(self, features: Tensor) -> Tensor:
        return _sum_branches(self.branches, features)  # (N, K, H/8, W/8)


class FullyConnectedBranch(nn.Module):
    """VGG's classifier as convolutions: fc6 is atrous 3x3, fc7 and fc8 are 1x1."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.fc6 = nn.Conv2d(in_channels, 1024, 3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.fc8 = _classifier(1024, num_classes, 1)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        for conv in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            zero_bias(conv)

    def forward(self, features: Tensor) -> Tensor:
        x = self.dropout(self.relu(self.fc6(features)))
        x = self.dropout(self.relu(self.fc7(x)))
        return self.fc8(x)


class SummedFullyConnected(nn.Module):
    """VGG's heads: one fc6-fc7-fc8 branch per rate, summed.

    With `smooth` (LargeFOV), a 3x3 average of the features comes first.
    """

    def __init__(
        self, in_channels: int, num_classes: int, rates: tuple[int, ...], *, smooth: bool
    ) -> None:
        super().__init__()
        self.smooth = nn.AvgPool2d(3, stride=1, padding=1) if smooth else nn.Identity()
        self.branches = nn.ModuleList(FullyConnectedBranch(in_channels, num_classes) for _ in rates)
        self.set_rates(rates)

    def set_rates(self, rates: tuple[int, ...]) -> None:
        for branch, rate in zip(self.branches, rates, strict=True):
            conv_geometry(cast(FullyConnectedBranch, branch).fc6, dilation=rate)

    def forward(self, features: Tensor) -> Tensor:
        features = self.smooth(features)
        return _sum_branches(self.branches, features)  # (N, K, H/8, W/8)


class ImagePooling(nn.Module):
    """The mean feature of each image, projected and repeated at every position.

    Training needs at least two images per batch, because batch norm gets one value per image.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.project = _conv_bn_relu(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        if self.project[1].training and features.shape[0] == 1:
            raise InputError(
                "image pooling normalises over the images of a batch, and this batch holds one; "
                "train `aspp_concat` with batches of 2 or more images, freeze its batch norms, or "
                "call model.eval()"
            )
        pooled = self.project(features.mean(dim=(2, 3), keepdim=True))
        return pooled.expand(-1, -1, *features.shape[2:])


class ConcatenatedASPP(nn.Module):
    """DeepLab v3's head: 1x1, atrous 3x3 branches and image pooling, concatenated."""

    def __init__(self, in_channels: int, num_classes: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.pointwise = _conv_bn_relu(in_channels, CONCAT_CHANNELS, 1)
        self.branches = nn.ModuleList(_conv_bn_relu(in_channels, CONCAT_CHANNELS, 3) for _ in rates)
        self.pooling = ImagePooling(in_channels, CONCAT_CHANNELS)
        self.project = _conv_bn_relu((len(rates) + 2) * CONCAT_CHANNELS, CONCAT_CHANNELS, 1)
        self.classifier = _classifier(CONCAT_CHANNELS, num_classes, 1)
        self.set_rates(rates)

    def set_rates(self, rates: tuple[int, ...]) -> None:
        for branch, rate in zip(self.branches, rates, strict=True):
            conv_geometry(cast(nn.Sequential, branch)[0], dilation=rate)

    def forward(self, features: Tensor) -> Tensor:
        parts = [self.pointwise(features), *(branch(features) for branch in self.branches)]
        parts.append(self.pooling(features))
        return self.classifier(self.project(torch.cat(parts, dim=1)))  # (N, K, H/8, W/8)


def _sum_branches(branches: nn.ModuleList, features: Tensor) -> Tensor:
    scores = branches[0](features)
    for branch in branches[1:]:
        scores = scores + branch(features)
    return scores


def _classifier(in_channels: int, num_classes: int, kernel: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, num_classes, kernel)
    nn.init.normal_(conv.weight, std=0.01)  # the Caffe networks' filler
    zero_bias(conv)
    return conv


def _conv_bn_relu(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class LearnedUpsampling(nn.Module):
    """A transposed convolution from scores to pixels, initialised as bilinear interpolation.

    Score (i, j) belongs to pixel (i * stride, j * stride), as in corner-aligned resizing. Pixels
    beyond the last score are interpolated from a repeated last row and column.
    """

    def __init__(self, num_classes: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        size = 2 * stride - 1
        self.weight = nn.Parameter(torch.zeros(num_classes, num_classes, size, size))
        ramp = 1 - (torch.arange(size) - (stride - 1)).abs() / stride
        with torch.no_grad():
            for k in range(num_classes):
                self.weight[k, k] = ramp[:, None] * ramp[None, :]

    def forward(self, logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Upsample scores.

        Args:
            logits: (N, K, h, w).
            size_hw: Rows and columns of the input.

        Returns:
            (N, K, H, W). Where h is not ceil(H/stride), the rows end at the last score:
            H = (h - 1) * stride + 1; columns alike.
        """
        padded = F.pad(logits, (0, 1, 0, 1), mode="replicate")
        pixels = F.conv_transpose2d(
            padded, self.weight, stride=self.stride, padding=self.stride - 1
        )  # (N, K, h * stride + 1, w * stride + 1)
        height, width = (
            size if ceil_divide(size, self.stride) == scores else (scores - 1) * self.stride + 1
            for size, scores in zip(size_hw, logits.shape[-2:], strict=True)
        )
        return pixels[..., :height, :width]


Head = SummedConvs | SummedFullyConnected | ConcatenatedASPP


def make_head(
    name: str, in_channels: int, num_classes: int, rates: tuple[int, ...] | None, *, is_vgg: bool
) -> Head:
    """Build a head by name; `rates=None` takes the rates in `RATES`.

    Raises:
        InputError: If `rates` are given for a head without atrous branches.
    """
    default_rates = RATES[name]
    if rates is not None and default_rates is None:
        raise InputError(f"head {name!r} has no atrous branches; leave atrous_rates out")
    rates = rates or default_rates
    if name == "aspp_concat":
        return ConcatenatedASPP(in_channels, num_classes, rates or ())
    if is_vgg and name in ("aspp", "aspp_s", "largefov"):
        return SummedFullyConnected(
            in_channels, num_classes, rates or (), smooth=name == "largefov"
        )
    return SummedConvs(in_channels, num_classes, rates)
