"""The names of the networks, and the functions that build them."""

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
    """How a name becomes a backbone."""

    backbone: Callable[..., Backbone]
    has_bottlenecks: bool = False  # whether `stride_in_1x1` applies
    is_vgg: bool = False


ZOO = {
    "deeplabv2_resnet18": Spec(resnet18),
    "deeplabv2_resnet50": Spec(resnet50, has_bottlenecks=True),
    "deeplabv2_resnet101": Spec(resnet101, has_bottlenecks=True),
    "deeplabv2_vgg16": Spec(vgg16, is_vgg=True),
    "deeplabv2_efficientnet_lite0": Spec(efficientnet_lite0),
}


def list_models() -> list[str]:
    """Names that `create_model` takes."""
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
    """Build a network with random weights; reads no file and opens no connection.

    Args:
        name: One of `list_models()`.
        num_classes: Number of classes, background included.
        head: `aspp` (rates 6/12/18/24, summed: the paper's), `aspp_s` (2/4/8/12), `largefov`,
            `conv1x1`, or `aspp_concat` (1x1, atrous branches and image pooling, concatenated).
        atrous_rates: One rate per branch instead of the head's own, in positions of the output
            grid.
        output_stride: Input pixels per score.
        scales: Input scales to run and fuse by maximum; 1 first, e.g. (1.0, 0.75, 0.5).
        align_corners: True is Caffe's corner-to-corner resizing, False that of the PyTorch ports.
        stride_in_1x1: ResNet-50 and ResNet-101 only: True (default) for Caffe's weights, False for
            torchvision's.
        upsampling: `bilinear`, or a learned `transposed` convolution.

    Returns:
        The network, in training mode, with `num_classes` outputs.

    Raises:
        InputError: If a name or an option does not exist for this network.
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
    """Build the network that `options` describe; see `create_model`."""
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
            f"{options.name} has no bottlenecks; leave out stride_in_1x1, which is for ResNet-50 "
            "and ResNet-101"
        )
    backbone = spec.backbone(output_stride=options.output_stride, **backbone_options)
    head = make_head(
        options.head, backbone.channels, num_classes, options.atrous_rates, vgg=spec.is_vgg
    )
    return DeepLab(backbone, head, options, scales=check_scales(scales))


def _check_is_given(num_classes: int | None) -> int:
    if num_classes is None:
        raise InputError("num_classes is None; it must be a whole number from 1 up")
    return num_classes
