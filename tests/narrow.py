"""ResNet-18 with an eighth of its channels: the same layers, a sixtieth of the weights.

For tests that need a network to train, save or score, and not what it learns. ResNet-18 itself has
11 million weights, and most of a short run's time goes into drawing, copying and writing them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

from atrous.models import zoo
from atrous.models.resnet import BasicBlock, ResNet

NAME = "deeplabv2_resnet18"
NARROWER = 8


def narrow_resnet18(*, output_stride: int = 8) -> ResNet:
    with torch.device("meta"):
        backbone = ResNet(BasicBlock, (2, 2, 2, 2), output_stride=output_stride)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            inputs = 3 if module.in_channels == 3 else module.in_channels // NARROWER
            outputs = module.out_channels // NARROWER
            module.in_channels, module.out_channels = inputs, outputs
            module.weight = nn.Parameter(torch.empty(outputs, inputs, *module.kernel_size))
        elif isinstance(module, nn.BatchNorm2d):
            module.__init__(module.num_features // NARROWER, module.eps)
    backbone.channels //= NARROWER
    backbone._initialise()
    return backbone


@contextmanager
def narrow_network() -> Generator[None]:
    """Build the narrow network wherever `deeplabv2_resnet18` is asked for."""
    spec = zoo.ZOO[NAME]
    zoo.ZOO[NAME] = dataclasses.replace(spec, backbone=narrow_resnet18)
    try:
        yield
    finally:
        zoo.ZOO[NAME] = spec
