"""`NetworkOptions`: the arguments of `create_model`, as weights files and recipes keep them."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from .errors import InputError
from .suggestions import did_you_mean

Head = Literal["aspp", "aspp_s", "largefov", "conv1x1", "aspp_concat"]
OutputStride = Literal[8, 16]
Upsampling = Literal["bilinear", "transposed"]


@dataclass(frozen=True, eq=False)
class NetworkOptions(Mapping[str, Any]):
    """What a network is: every argument of `create_model` that its weights depend on.

    `scales` is not among them: the same weights serve any input scales. A mapping, so that
    `create_model(**options, scales=...)` builds the network again.

    Raises:
        InputError: If a value is not one of those allowed.
    """

    name: str = "deeplabv2_resnet101"
    """The network, one of `list_models()`."""
    num_classes: int | None = None
    """Number of classes, background included. In a recipe, None means those of the data set."""
    head: Head = "aspp"
    """`aspp` (rates 6/12/18/24, summed: the paper's), `aspp_s` (2/4/8/12), `largefov`, `conv1x1`,
    or `aspp_concat` (1x1, atrous branches and image pooling, concatenated)."""
    atrous_rates: tuple[int, ...] | None = None
    """One rate per branch instead of the head's own, in positions of the output grid."""
    output_stride: OutputStride = 8
    """Input pixels per score."""
    align_corners: bool = True
    """True resizes corner to corner, as Caffe; False as the PyTorch ports."""
    stride_in_1x1: bool | None = None
    """ResNet-50 and ResNet-101 only: True (their default) for Caffe's weights, False for
    torchvision's."""
    upsampling: Upsampling = "bilinear"
    """From scores to pixels: `bilinear`, or a learned `transposed` convolution."""

    def __post_init__(self) -> None:
        if self.num_classes is not None:
            object.__setattr__(self, "num_classes", _check_classes(self.num_classes))
        if self.head not in get_args(Head):
            raise InputError(
                f"no head is called {self.head!r}{did_you_mean(self.head, get_args(Head))}"
            )
        if self.output_stride not in get_args(OutputStride):
            raise InputError(f"output_stride is {self.output_stride!r}; it must be 8 or 16")
        if self.upsampling not in get_args(Upsampling):
            raise InputError(
                f"upsampling is {self.upsampling!r}; it must be 'bilinear' or 'transposed'"
            )
        if self.atrous_rates is not None:
            object.__setattr__(self, "atrous_rates", _check_rates(self.atrous_rates))
        object.__setattr__(self, "align_corners", bool(self.align_corners))

    def __getitem__(self, key: str) -> Any:
        if key not in _NAMES:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


_NAMES = tuple(item.name for item in fields(NetworkOptions))


def check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """Check input scales that are to be fused: the first must be 1, the size of the result.

    Raises:
        InputError: If there are none, the first is not 1, or one is not above 0 and at most 8.
    """
    try:
        values = tuple(float(scale) for scale in scales)
    except (TypeError, ValueError):
        values = ()
    if not values or values[0] != 1 or any(not 0 < scale <= 8 for scale in values):
        raise InputError(
            f"scales is {scales!r}; give 1 first, then factors up to 8: (1.0, 0.75, 0.5)"
        )
    return values


def _check_classes(num_classes: Any) -> int:
    try:
        value = 0 if isinstance(num_classes, bool) else operator.index(num_classes)
    except TypeError:
        value = 0
    if value < 1:
        raise InputError(f"num_classes is {num_classes!r}; it must be a whole number from 1 up")
    return value


def _check_rates(rates: Any) -> tuple[int, ...]:
    values = tuple(rates) if isinstance(rates, Sequence) else ()
    if not values or any(type(rate) is not int or rate < 1 for rate in values):
        raise InputError(
            f"atrous_rates is {rates!r}; give whole numbers from 1 up: (6, 12, 18, 24)"
        )
    return values
