"""The parameters of the dense CRF, and the widths that any kernel can have."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from .errors import InputError

# Beyond these a width or its inverse leaves float32's range.
MIN_WIDTH, MAX_WIDTH = 1e-30, 1e30
MAX_WEIGHT = 1e20
MAX_ITERATIONS = 2**31 - 1


@dataclass(frozen=True)
class CRFParams:
    """Weights and widths of the two kernels; the defaults are the paper's for PASCAL VOC.

    Args:
        iterations: Steps of mean field; 0 gives the (clipped, normalised) input back.
        spatial_weight: Strength of the kernel over position alone (w2 of the paper's Eq. 3).
        spatial_xy_std: Its width in pixels (sigma gamma).
        bilateral_weight: Strength of the kernel over position and colour (w1).
        bilateral_xy_std: Its width in pixels (sigma alpha).
        bilateral_rgb_std: Its width in grey levels of 0..255 (sigma beta).

    Raises:
        InputError: If a value is not a finite number, a width is not positive, a weight or the
            number of iterations is negative, or iterations are not whole.
    """

    iterations: int = 10
    spatial_weight: float = 3
    spatial_xy_std: float = 1
    bilateral_weight: float = 4
    bilateral_xy_std: float = 67
    bilateral_rgb_std: float = 3

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not is_number(value):
                raise InputError(f"{field.name} is {value!r}; it must be a finite number")
            if field.name.endswith("_std"):
                check_width(field.name, value)
            elif value < 0:
                raise InputError(f"{field.name} is {value}; it must be 0 or more")
            elif field.name.endswith("_weight") and value > MAX_WEIGHT:
                raise InputError(f"{field.name} is {value}; it must be at most {MAX_WEIGHT:g}")
        if self.iterations != int(self.iterations) or self.iterations > MAX_ITERATIONS:
            raise InputError(
                f"iterations is {self.iterations}; it must be a whole number below 2**31"
            )
        object.__setattr__(self, "iterations", int(self.iterations))


def check_width(name: str, value: float) -> None:
    """Refuse a kernel width that is no positive number of ordinary size.

    Raises:
        InputError: Naming the width, what came and what is possible.
    """
    if not MIN_WIDTH <= value <= MAX_WIDTH:  # False for NaN, too
        raise InputError(
            f"{name} is {value}; a kernel's width must be positive, "
            f"between {MIN_WIDTH:g} and {MAX_WIDTH:g}"
        )


def check_floats(dtype: object, *, is_float: bool) -> None:
    """Refuse probabilities of another type than a float.

    Raises:
        InputError: Naming the type and what is needed.
    """
    if not is_float:
        raise InputError(
            f"probabilities are {dtype}; they must be floats from 0 to 1 "
            "(uint8-quantised scores: divide by 255)"
        )


def check_lowest(lowest: float) -> None:
    """Refuse probabilities of which the lowest is negative.

    Raises:
        InputError: Naming the lowest and what is needed.
    """
    if lowest < 0:
        raise InputError(
            f"probabilities go down to {lowest:g}; they must be from 0 to 1 "
            "(logits: apply the softmax first)"
        )


def is_number(value: object) -> bool:
    """Say whether this is one finite real number."""
    try:
        return not isinstance(value, (str, bytes)) and math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        return False
