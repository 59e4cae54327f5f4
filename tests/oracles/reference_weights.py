"""Seeded weights and images of the stored reference outputs, rebuilt with numpy alone.

Each array is drawn from numpy's legacy generator, whose bits never change, in the sorted order of
the names that kazuto1011/deeplab-pytorch gives its parameters.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MEAN_BGR = np.array([104.008, 116.669, 122.675])
DEPTHS = (3, 4, 23, 3)
CONVS = ("reduce", "conv3x3", "increase")


def reference_state(num_classes: int = 21, seed: int = 2017) -> dict[str, NDArray[np.generic]]:
    """Draw the weights of ResNet-101 with ASPP, under the reference's names."""
    shapes = _shapes(num_classes)
    random = np.random.RandomState(seed)
    state = {}
    for name in sorted(shapes):
        if name.endswith("num_batches_tracked"):
            state[name] = np.zeros((), np.int64)
        else:
            state[name] = _draw(name, shapes[name], random).astype(np.float32)
    return state


def our_name(reference_name: str) -> str:
    """Translate `layer3.block2.reduce.conv.weight` to `backbone.layer2.1.conv1.weight`."""
    parts = reference_name.split(".")
    tail = parts[-1]
    if parts[0] == "aspp":
        return f"head.branches.{parts[1][1:]}.{tail}"
    kind = parts[-2]
    if parts[0] == "layer1":
        return f"backbone.{kind}1.{tail}"
    block = f"backbone.layer{int(parts[0][5:]) - 1}.{int(parts[1][5:]) - 1}"
    if parts[2] == "shortcut":
        return f"{block}.downsample.{['conv', 'bn'].index(kind)}.{tail}"
    return f"{block}.{kind}{CONVS.index(parts[2]) + 1}.{tail}"


def image(height: int, width: int, seed: int, count: int) -> NDArray[np.float32]:
    """Draw blocky, noisy images, BGR minus mean: (count, 3, height, width)."""
    random = np.random.RandomState(seed)
    blocks = random.uniform(0, 255, (count, 3, -(-height // 16), -(-width // 16)))
    enlarged = np.kron(blocks, np.ones((16, 16)))[:, :, :height, :width]
    noise = random.uniform(0, 255, (count, 3, height, width))
    pixels = np.floor(0.7 * enlarged + 0.3 * noise)
    return (pixels - MEAN_BGR[:, None, None]).astype(np.float32)


def _shapes(num_classes: int) -> dict[str, tuple[int, ...]]:
    shapes = _conv_bn("layer1.conv1", 64, 3, 7)
    channels = 64
    for stage, depth in enumerate(DEPTHS):
        wide = 256 * 2**stage
        narrow = wide // 4
        for block in range(1, depth + 1):
            prefix = f"layer{stage + 2}.block{block}"
            shapes |= _conv_bn(f"{prefix}.reduce", narrow, channels, 1)
            shapes |= _conv_bn(f"{prefix}.conv3x3", narrow, narrow, 3)
            shapes |= _conv_bn(f"{prefix}.increase", wide, narrow, 1)
            if block == 1:
                shapes |= _conv_bn(f"{prefix}.shortcut", wide, channels, 1)
            channels = wide
    for branch in range(4):
        shapes[f"aspp.c{branch}.weight"] = (num_classes, channels, 3, 3)
        shapes[f"aspp.c{branch}.bias"] = (num_classes,)
    return shapes


def _conv_bn(
    prefix: str, out_channels: int, in_channels: int, kernel: int
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        f"{prefix}.conv.weight": (out_channels, in_channels, kernel, kernel),
        f"{prefix}.bn.num_batches_tracked": (),
    }
    for name in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{prefix}.bn.{name}"] = (out_channels,)
    return shapes


def _draw(name: str, shape: tuple[int, ...], random: np.random.RandomState) -> NDArray[np.float64]:
    is_stem = name.startswith("layer1.")  # its statistics are those of grey levels up to 255
    if name.endswith("conv.weight"):
        return random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    if name.endswith("bn.weight"):
        # A small last scale keeps 33 residual blocks from growing without bound.
        return random.uniform(*((0.1, 0.4) if ".increase." in name else (0.8, 1.2)), shape)
    if name.endswith("running_var"):
        return random.uniform(0.8, 1.2, shape) * (10_000 if is_stem else 1)
    if name.endswith("running_mean"):
        return random.standard_normal(shape) * (10 if is_stem else 0.1)
    if name.endswith(".weight"):
        return random.standard_normal(shape) * 0.01
    return random.standard_normal(shape) * 0.1  # biases
