"""Names of networks, and the one function that builds them."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .deeplab import Backbone, DeepLab
from .efficientnet_lite import efficientnet_lite0
from .heads import RATES, make_head
from .resnet import resnet18, resnet50, resnet101
from .vgg import vgg16


@dataclass(frozen=True)
class Spec:
    """How a name becomes a backbone."""

    backbone: Callable[..., Backbone]
    has_bottlenecks: bool = False  # whether `stride_in_1x1` means anything
    is_vgg: bool = False


ZOO = {
    "deeplabv2_resnet18": Spec(resnet18),
    "deeplabv2_resnet50": Spec(resnet50, has_bottlenecks=True),
    "deeplabv2_resnet101": Spec(resnet101, has_bottlenecks=True),
    "deeplabv2_vgg16": Spec(vgg16, is_vgg=True),
    "deeplabv2_efficientnet_lite0": Spec(efficientnet_lite0),
}

Head = Literal["aspp", "aspp_s", "largefov", "conv1x1", "aspp_concat"]


def list_models() -> list[str]:
    """Names that `create_model` takes."""
    return sorted(ZOO)


def create_model(
    name: str,
    num_classes: int,
    *,
    head: Head = "aspp",
    atrous_rates: Sequence[int] | None = None,
    output_stride: Literal[8, 16] = 8,
    scales: Sequence[float] = (1.0,),
    align_corners: bool = True,
    stride_in_1x1: bool | None = None,
    upsampling: Literal["bilinear", "transposed"] = "bilinear",
) -> DeepLab:
    """Build a network with fresh weights; touches neither disk nor network.

    Args:
        name: One of `list_models()`.
        num_classes: Classes, background included.
        head: `aspp` (rates 6/12/18/24, summed: the paper's), `aspp_s` (2/4/8/12), `largefov`,
            `conv1x1`, or `aspp_concat` (1x1, atrous branches and image pooling, concatenated).
        atrous_rates: One rate a branch in place of the head's own, in positions of the output grid.
        output_stride: Input pixels per score.
        scales: Input scales to run and fuse by maximum; 1 first, e.g. (1.0, 0.75, 0.5).
        align_corners: True is Caffe's corner-to-corner resizing, False that of the PyTorch ports.
        stride_in_1x1: ResNet-50/101 alone: True (default) as Caffe's weights need it, False as
            torchvision's.
        upsampling: `bilinear`, or a learned `transposed` convolution.

    Returns:
        The network, in training mode, with `num_classes` outputs.

    Raises:
        ValueError: If a name or an option does not exist for this network.
    """
    spec = ZOO.get(name)
    if spec is None:
        raise ValueError(f"no network is called {name!r}{_near(name, ZOO)}")
    num_classes = _check_classes(num_classes)
    if head not in RATES:
        raise ValueError(f"no head is called {head!r}{_near(head, RATES)}")
    if output_stride not in (8, 16):
        raise ValueError(f"output_stride is {output_stride!r}; it must be 8 or 16")
    if upsampling not in ("bilinear", "transposed"):
        raise ValueError(f"upsampling is {upsampling!r}; it must be 'bilinear' or 'transposed'")
    scales = check_scales(scales)
    rates = _checked_rates(atrous_rates)
    backbone_options: dict[str, bool] = {}
    if spec.has_bottlenecks:
        backbone_options["stride_in_1x1"] = True if stride_in_1x1 is None else bool(stride_in_1x1)
    elif stride_in_1x1 is not None:
        raise ValueError(
            f"{name} has no bottlenecks; leave stride_in_1x1, for ResNet-50 and ResNet-101, out"
        )

    backbone = spec.backbone(output_stride=output_stride, **backbone_options)
    return DeepLab(
        backbone,
        make_head(head, backbone.channels, num_classes, rates, vgg=spec.is_vgg),
        num_classes=num_classes,
        output_stride=output_stride,
        atrous_rates=rates or RATES[head],
        scales=scales,
        align_corners=bool(align_corners),
        upsampling=upsampling,
        options={
            "name": name,
            "num_classes": num_classes,
            "head": head,
            "atrous_rates": rates,
            "output_stride": output_stride,
            "align_corners": bool(align_corners),
            "upsampling": upsampling,
            **backbone_options,
        },
    )


def _check_classes(num_classes: int) -> int:
    try:
        value = 0 if isinstance(num_classes, bool) else operator.index(num_classes)
    except TypeError:
        value = 0
    if value < 1:
        raise ValueError(f"num_classes is {num_classes!r}; it must be a whole number from 1 up")
    return value


def check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """Refuse scales that a network cannot fuse: the first must be 1, the size of the result."""
    try:
        values = tuple(float(scale) for scale in scales)
    except (TypeError, ValueError):
        values = ()
    if not values or values[0] != 1 or any(not 0 < scale <= 8 for scale in values):
        raise ValueError(
            f"scales is {scales!r}; give 1 first, then factors up to 8: (1.0, 0.75, 0.5)"
        )
    return values


def _checked_rates(rates: Sequence[int] | None) -> tuple[int, ...] | None:
    if rates is None:
        return None
    values = tuple(rates) if isinstance(rates, Sequence) else ()
    if not values or any(type(rate) is not int or rate < 1 for rate in values):
        raise ValueError(
            f"atrous_rates is {rates!r}; give whole numbers from 1 up: (6, 12, 18, 24)"
        )
    return values


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.4)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are {', '.join(sorted(known))}"
