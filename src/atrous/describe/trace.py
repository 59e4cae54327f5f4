"""Run a network on the meta device and record each module's output shape and cost.

The meta device computes shapes without values, so a 2049x2049 input needs no memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ..models import DeepLab
from ..models.heads import LearnedUpsampling
from ..resize import rescale


class Reach(NamedTuple):
    """Stride and receptive field of a feature map, in input pixels; None is the whole image."""

    stride: int | None = 1
    receptive_field: int | None = 1

    def after(self, *, kernel: int, stride: int, dilation: int) -> Reach:
        """Return the reach after a convolution or pooling."""
        if self.stride is None or self.receptive_field is None:
            return self
        seen = self.receptive_field + (kernel - 1) * dilation * self.stride
        return Reach(self.stride * stride, seen)


WHOLE_IMAGE = Reach(None, None)


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        path: Name of the module in the network.
        module: The module, on the meta device.
        shape: Channels, rows and columns of the output.
        reach: Reach of the output.
        macs: Multiply-accumulate operations of a convolution; 0 for other modules.
    """

    path: str
    module: nn.Module
    shape: tuple[int, int, int]
    reach: Reach
    macs: int


@dataclass(frozen=True)
class Scale:
    """One scale of a multi-scale network.

    Attributes:
        scale: Scale factor.
        size_hw: Rows and columns of the rescaled image.
        scores_hw: Rows and columns of the scores at this scale, before fusion.
        macs: Multiply-accumulate operations.
    """

    scale: float
    size_hw: tuple[int, int]
    scores_hw: tuple[int, int]
    macs: int


@dataclass(frozen=True)
class Trace:
    """Record of one forward pass.

    Attributes:
        calls: Calls at scale 1, in the order in which they returned, and of learned upsampling.
        scales: Sizes and cost at each scale.
        output_hw: Rows and columns of the fused scores.
        modules: All modules by name, on the meta device.
    """

    calls: list[Call]
    scales: list[Scale]
    output_hw: tuple[int, int]
    modules: dict[str, nn.Module]


def trace(model: DeepLab, size_hw: tuple[int, int]) -> Trace:
    """Record the module calls at scale 1, and the sizes and total cost at each scale."""
    twin = _meta_copy(model)
    modules: dict[str, nn.Module] = dict(twin.named_modules())
    calls: list[Call] = []
    for path, module in modules.items():
        if path:
            module.register_forward_hook(_recorder(path, calls))
    dtype = next(model.parameters()).dtype
    image = torch.empty(1, 3, *size_hw, device="meta", dtype=dtype)
    output_hw = (-(-size_hw[0] // model.output_stride), -(-size_hw[1] // model.output_stride))
    scales: list[Scale] = []
    reaches: list[Reach] = []
    full_scale: list[Call] = []
    with torch.no_grad():
        for scale in model.scales:
            scaled = rescale(image, scale, align_corners=model.align_corners)
            scores = twin.head(twin.backbone(_Traced.of(scaled, Reach())))
            macs = sum(call.macs for call in calls)
            scales.append(Scale(scale, _size_hw(scaled), _size_hw(scores), macs))
            reaches.append(scores.reach)
            full_scale = full_scale or calls.copy()
            calls.clear()
        if twin.learned_upsampling is not None:
            fused = torch.empty(1, model.num_classes, *output_hw, device="meta", dtype=dtype)
            twin.learned_upsampling(_Traced.of(fused, reaches[0]), size_hw)
    return Trace([*full_scale, *calls], scales, output_hw, modules)


def _size_hw(maps: Tensor) -> tuple[int, int]:
    return (maps.shape[-2], maps.shape[-1])


def kernel_of(module: nn.Module) -> int:
    """Return the kernel size of a convolution or pooling, 0 for other modules."""
    if isinstance(module, LearnedUpsampling):
        return module.weight.shape[-1]
    size = cast(int | tuple[int, int], getattr(module, "kernel_size", 0))
    return size[0] if isinstance(size, tuple) else size


def dilation_of(module: nn.Module) -> int:
    """Return the dilation of a convolution; 1 for 1x1 kernels and other modules."""
    if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
        return module.dilation[0]
    return 1


class _Traced(Tensor):
    """A tensor that carries its reach through sums, concatenations and means.

    After convolutions and pooling, `_recorder` sets the reach, since it knows the module.
    """

    reach: Reach

    @classmethod
    def of(cls, tensor: Tensor, reach: Reach) -> _Traced:
        traced = tensor.as_subclass(cls)
        traced.reach = reach
        return traced

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        parents = [tensor.reach for tensor in _traced_in(args)]
        if isinstance(result, _Traced) and parents:
            result.reach = WHOLE_IMAGE if func is Tensor.mean else _joined(parents)
        return result


def _traced_in(values: Any) -> list[_Traced]:
    if isinstance(values, _Traced):
        return [values] if hasattr(values, "reach") else []
    if isinstance(values, list | tuple):
        return [t for value in cast(list[Any], values) for t in _traced_in(value)]
    return []


def _joined(parents: list[Reach]) -> Reach:
    strides = [reach.stride for reach in parents if reach.stride is not None]
    fields = [reach.receptive_field for reach in parents]
    seen = None if None in fields else max((f for f in fields if f is not None), default=1)
    return Reach(min(strides, default=None), seen)


def _meta_copy(model: DeepLab) -> DeepLab:
    """Copy a network to the meta device, without its weights."""
    memo: dict[int, Any] = {}
    for tensor in chain(model.parameters(), model.buffers()):
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty
    twin = copy.deepcopy(model, memo).eval()
    for module in twin.modules():  # deepcopy also copied the hooks of the caller
        module._forward_hooks.clear()  # pyright: ignore[reportPrivateUsage]
        module._forward_pre_hooks.clear()  # pyright: ignore[reportPrivateUsage]
    return twin


def _recorder(path: str, calls: list[Call]) -> Callable[..., None]:
    def record(module: nn.Module, inputs: tuple[_Traced, ...], output: _Traced) -> None:
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            output.reach = inputs[0].reach.after(
                kernel=kernel_of(module),
                stride=module.stride[0] if isinstance(module.stride, tuple) else module.stride,
                dilation=dilation_of(module),
            )
        if isinstance(module, LearnedUpsampling):
            stride, seen = inputs[0].reach
            output.reach = Reach(1, seen and stride and seen + stride)
        channels, height, width = output.shape[1:]
        shape = (channels, height, width)
        calls.append(Call(path, module, shape, output.reach, _macs(module, inputs[0], output)))

    return record


def _macs(module: nn.Module, x: Tensor, y: Tensor) -> int:
    """Count the MACs of convolutions; as usual, biases, norms and pooling are not counted."""
    if isinstance(module, nn.Conv2d):
        return y.numel() * module.weight[0].numel()
    if isinstance(module, LearnedUpsampling):
        # Its input is padded with a copy of the last row and column.
        return (x.shape[-2] + 1) * (x.shape[-1] + 1) * module.weight.numel()
    return 0
