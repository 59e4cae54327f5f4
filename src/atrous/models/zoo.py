"""The networks by name, and the functions that build them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..errors import InputError
from ..network_options import Head, NetworkOptions, OutputStride, Upsampling, check_scales
from ..suggestions import did_you_mean
from .deeplab import Backbone, DeepLab
from .efficientnet_lite import efficientnet_lite0
from .heads import make_head
from .resnet import resnet18, resnet50, resnet101
from .vgg import vgg16


@dataclass(frozen=True)
class Spec:
    """A backbone and its peculiarities.

    Attributes:
        backbone: Builds the backbone.
        has_bottlenecks: Whether `stride_in_1x1` applies.
        is_vgg: Whether the heads are VGG's fc6-fc7-fc8 branches.
    """

    backbone: Callable[..., Backbone]
    has_bottlenecks: bool = False
    is_vgg: bool = False


ZOO = {
    "deeplabv2_resnet18": Spec(resnet18),
    "deeplabv2_resnet50": Spec(resnet50, has_bottlenecks=True),
    "deeplabv2_resnet101": Spec(resnet101, has_bottlenecks=True),
    "deeplabv2_vgg16": Spec(vgg16, is_vgg=True),
    "deeplabv2_efficientnet_lite0": Spec(efficientnet_lite0),
}


def list_models() -> list[str]:
    """List the names that `create_model` accepts, sorted."""
    return sorted(ZOO)


def create_model(
    name: str,
    num_classes: int,
    *,
    head: Head = NetworkOptions.head,
    atrous_rates: Sequence[int] | None = NetworkOptions.atrous_rates,
    output_stride: OutputStride = NetworkOptions.output_stride,
    scales: Sequence[float] = (1.0,),
    align_corners: bool = NetworkOptions.align_corners,
    stride_in_1x1: bool | None = NetworkOptions.stride_in_1x1,
    upsampling: Upsampling = NetworkOptions.upsampling,
) -> DeepLab:
    """Build a network with random weights, without reading files or opening connections.

    Args:
        name: One of `list_models()`.
        num_classes: Number of classes, background included.
        head: `aspp` (rates 6/12/18/24, summed: the paper's), `aspp_s` (2/4/8/12), `largefov`,
            `conv1x1`, or `aspp_concat` (1x1, atrous branches and image pooling, concatenated).
        atrous_rates: One rate per branch instead of the head's own, in positions of the output
            grid.
        output_stride: Input pixels per score, along each axis.
        scales: Input scales to run; their scores are fused by maximum. 1 first, such as (1.0, 0.75,
            0.5).
        align_corners: True resizes corner to corner, as Caffe does; False as the PyTorch ports do.
        stride_in_1x1: ResNet-50 and ResNet-101 only: True (default) for Caffe's weights, False for
            torchvision's.
        upsampling: `bilinear`, or a learned `transposed` convolution.

    Returns:
        The network, in training mode, with `num_classes` outputs.

    Raises:
        InputError: If no network has this name, or the network does not have an option.
    """
    options = NetworkOptions(
        name,
        _check_is_given(num_classes),
        head,
        atrous_rates,  # type: ignore[arg-type]  # NetworkOptions makes it a tuple
        output_stride,
        align_corners,
        stride_in_1x1,
        upsampling,
    )
    return build_network(options, scales=scales)


def build_network(options: NetworkOptions, *, scales: Sequence[float] = (1.0,)) -> DeepLab:
    """Build the network that `options` describe; arguments and errors as for `create_model`."""
    spec = ZOO.get(options.name)
    if spec is None:
        raise InputError(f"no network is called {options.name!r}{did_you_mean(options.name, ZOO)}")
    num_classes = _check_is_given(options.num_classes)
    backbone_options: dict[str, bool] = {}
    if spec.has_bottlenecks:
        options = replace(options, stride_in_1x1=options.stride_in_1x1 is not False)
        backbone_options["stride_in_1x1"] = options["stride_in_1x1"]
    elif options.stride_in_1x1 is not None:
        raise InputError(
            f"{options.name} has no bottlenecks; leave out stride_in_1x1, which only ResNet-50 and "
            "ResNet-101 have"
        )
    backbone = spec.backbone(output_stride=options.output_stride, **backbone_options)
    head = make_head(
        options.head, backbone.channels, num_classes, options.atrous_rates, is_vgg=spec.is_vgg
    )
    return DeepLab(backbone, head, options, scales=check_scales(scales))


def _check_is_given(num_classes: int | None) -> int:
    if num_classes is None:
        raise InputError("num_classes is None; it must be a whole number from 1 up")
    return num_classes
