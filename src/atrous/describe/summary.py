"""List the layers of a network: shapes, receptive fields, parameters and MACs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

from torch import nn

from ..errors import InputError
from ..models import DeepLab
from ..models.efficientnet_lite import InvertedResidual
from ..models.heads import LearnedUpsampling
from ..models.resnet import BasicBlock, Bottleneck
from .trace import Call, Scale, Trace, dilation_of, kernel_of, trace


@dataclass(frozen=True)
class Layer:
    """One convolution, norm or pooling.

    Attributes:
        name: Name in the network, e.g. `backbone.layer3.0.conv2`.
        kind: Operation, e.g. `conv 3x3`.
        output: Channels, rows and columns of the output.
        stride: Input pixels between neighbouring output positions; None if the single position
            covers the whole image.
        dilation: Distance of the kernel taps, in positions.
        receptive_field: Input pixels, along one axis, that an output position depends on; None is
            the whole image.
        parameters: Number of weights and biases.
        macs: Multiply-accumulate operations for one image.
    """

    name: str
    kind: str
    output: tuple[int, int, int]
    stride: int | None
    dilation: int
    receptive_field: int | None
    parameters: int
    macs: int


@dataclass(frozen=True)
class Block(Layer):
    """A residual block, a branch of a head or a single layer; equal consecutive blocks are merged.

    Attributes:
        count: Number of merged blocks.
        container: Parent module, e.g. `backbone.layer3`.
        shortcut: Shortcut of a residual block: `identity`, `projection` (in the first block), or
            None.
        layers: Layers of all merged blocks, in order.
    """

    count: int
    container: str
    shortcut: str | None
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Summary:
    """Layers and cost of a network for one image.

    Attributes:
        name: Name of the network.
        size_hw: Rows and columns of the image.
        output_stride: Input pixels per output position.
        output_hw: Rows and columns of the scores.
        num_classes: Number of classes.
        head: Name of the head, as in `create_model`.
        upsampling: `bilinear` or `transposed`.
        layers: All layers, at scale 1.
        blocks: The layers grouped into blocks.
        scales: Sizes and cost at each scale.
        parameters: Number of weights and biases; all scales share them.
        macs: MACs of all scales and of learned upsampling.
    """

    name: str
    size_hw: tuple[int, int]
    output_stride: int
    output_hw: tuple[int, int]
    num_classes: int
    head: str
    upsampling: str
    layers: tuple[Layer, ...]
    blocks: tuple[Block, ...]
    scales: tuple[Scale, ...]
    parameters: int
    macs: int

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, strings, lists and dictionaries."""
        return asdict(self)


def summarise(model: DeepLab, size_hw: tuple[int, int]) -> Summary:
    """List the layers of a network for one input size, without computing or changing anything.

    Args:
        model: Any network of `create_model`.
        size_hw: Rows and columns of the input, each at least 1.

    Raises:
        InputError: If the size is not positive.

    Source: MACs are counted as in published tables: convolutions only, without biases.
    """
    if min(size_hw) < 1:
        raise InputError(f"size is {size_hw[0]}x{size_hw[1]}; rows and columns start at 1")
    traced = trace(model, size_hw)
    layers = tuple(_layer(call) for call in traced.calls if _is_layer(call.module))
    upsampling = sum(layer.macs for layer in layers if layer.name == "learned_upsampling")
    return Summary(
        name=str(model.options["name"]),
        size_hw=size_hw,
        output_stride=model.output_stride,
        output_hw=traced.output_hw,
        num_classes=model.num_classes,
        head=str(model.options["head"]),
        upsampling=str(model.options["upsampling"]),
        layers=layers,
        blocks=tuple(_blocks(traced, layers)),
        scales=tuple(traced.scales),
        parameters=sum(p.numel() for p in model.parameters()),
        macs=sum(scale.macs for scale in traced.scales) + upsampling,
    )


def _is_layer(module: nn.Module) -> bool:
    if any(module.children()):
        return False
    return bool(list(module.parameters())) or isinstance(module, nn.MaxPool2d | nn.AvgPool2d)


def _layer(call: Call) -> Layer:
    return Layer(
        name=call.path,
        kind=_kind(call.module),
        output=call.shape,
        stride=call.reach.stride,
        dilation=dilation_of(call.module),
        receptive_field=call.reach.receptive_field,
        parameters=sum(p.numel() for p in call.module.parameters()),
        macs=call.macs,
    )


def _kind(module: nn.Module) -> str:
    size = f" {kernel_of(module)}x{kernel_of(module)}"
    if isinstance(module, nn.Conv2d):
        is_depthwise = module.groups == module.in_channels > 1
        return ("depthwise" if is_depthwise else "conv") + size
    names: dict[type[nn.Module], str] = {
        nn.BatchNorm2d: "batch norm",
        nn.MaxPool2d: f"max pool{size}",
        nn.AvgPool2d: f"mean pool{size}",
        LearnedUpsampling: f"transposed{size}",
    }
    return names.get(type(module), type(module).__name__)


def _blocks(traced: Trace, layers: Iterable[Layer]) -> list[Block]:
    """Group layers into blocks, and merge equal consecutive blocks."""
    ends = {call.path: call for call in traced.calls}
    blocks: list[Block] = []
    for path, group in groupby(layers, key=lambda layer: _block_path(layer.name, traced.modules)):
        members = tuple(group)
        if members[0].kind == "batch norm":  # belongs to the convolution before it
            blocks[-1] = _with_norm(blocks[-1], members[0])
            continue
        block = _block(path, members, ends[path])
        if blocks and _is_repetition(blocks[-1], block):
            blocks[-1] = _repeated(blocks[-1], block)
        else:
            blocks.append(block)
    return blocks


def _block_path(layer: str, modules: dict[str, nn.Module]) -> str:
    """Return the block of a layer: the outermost module of its part that is no container."""
    parts = layer.split(".")
    for depth in range(2, len(parts)):
        path = ".".join(parts[:depth])
        if not _is_container(modules[path]):
            return path
    return layer


def _is_container(module: nn.Module) -> bool:
    """Whether a module only holds blocks: a list, or a stage."""
    if isinstance(module, nn.ModuleList):
        return True
    return isinstance(module, nn.Sequential) and any(list(m.children()) for m in module)


def _block(path: str, layers: tuple[Layer, ...], end: Call) -> Block:
    is_layer = layers[0].name == path
    names = {"FullyConnectedBranch": "fc6-fc7-fc8", "Sequential": layers[0].kind}
    kind = type(end.module).__name__
    return Block(
        name=path,
        kind=layers[0].kind if is_layer else names.get(kind, kind),
        output=end.shape,
        stride=end.reach.stride,
        dilation=max(layer.dilation for layer in layers),
        receptive_field=end.reach.receptive_field,
        parameters=sum(layer.parameters for layer in layers),
        macs=sum(layer.macs for layer in layers),
        count=1,
        container=path.rpartition(".")[0],
        shortcut=_shortcut(end.module),
        layers=layers,
    )


def _shortcut(block: nn.Module) -> str | None:
    if isinstance(block, BasicBlock | Bottleneck):
        return "identity" if block.downsample is None else "projection"
    if isinstance(block, InvertedResidual) and block.has_shortcut:
        return "identity"
    return None


def _is_repetition(last: Block, block: Block) -> bool:
    """Whether a residual block equals the one before it."""

    def key(b: Block) -> tuple[Any, ...]:
        each = (b.parameters // b.count, b.macs // b.count)
        return (b.container, b.kind, b.output, b.stride, b.dilation, b.shortcut, *each)

    is_residual = len(block.layers) > 1 and block.container.startswith("backbone.")
    return is_residual and key(last) == key(block)


def _repeated(last: Block, block: Block) -> Block:
    first = last.name.partition("-")[0]
    return replace(
        block,
        name=f"{first}-{block.name.rpartition('.')[2]}",
        parameters=last.parameters + block.parameters,
        macs=last.macs + block.macs,
        count=last.count + 1,
        layers=last.layers + block.layers,
    )


def _with_norm(block: Block, norm: Layer) -> Block:
    return replace(
        block,
        name=f"{block.name}, {norm.name.rpartition('.')[2]}",
        parameters=block.parameters + norm.parameters,
        layers=(*block.layers, norm),
    )
