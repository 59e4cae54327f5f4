"""The parameters of the dense CRF, and the checks of numbers that its modules share."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from .errors import InputError

# Outside this range, a width or its inverse is not a normal float32.
MIN_WIDTH, MAX_WIDTH = 1e-30, 1e30
MAX_WEIGHT = 1e20
MAX_ITERATIONS = 2**31 - 1


@dataclass(frozen=True)
class CRFParams:
    """Weights and widths of the two kernels; the defaults are those of DeepLab v2 on PASCAL VOC.

    Raises:
        InputError: If a value is not a finite number, a width is not positive, a weight or the
            number of iterations is negative, or `iterations` is not whole.
    """

    iterations: int = 10
    """Number of mean-field iterations; 0 returns the input, clipped and normalised."""
    spatial_weight: float = 3
    """Strength of the kernel over position alone (w2 in Eq. 3 of the paper)."""
    spatial_xy_std: float = 1
    """Width of the kernel over position alone, in pixels (sigma gamma)."""
    bilateral_weight: float = 4
    """Strength of the kernel over position and colour (w1)."""
    bilateral_xy_std: float = 67
    """Width in position of the kernel over position and colour, in pixels (sigma alpha)."""
    bilateral_rgb_std: float = 3
    """Width in colour of the kernel over position and colour, in levels of 0..255 (sigma beta)."""

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
    """Refuse a kernel width that is not positive, not finite or beyond float32's range.

    Raises:
        InputError: Says the name of the width, its value and the allowed range.
    """
    if not MIN_WIDTH <= value <= MAX_WIDTH:  # also refuses NaN
        raise InputError(
            f"{name} is {value}; the width of a kernel must be positive, "
            f"between {MIN_WIDTH:g} and {MAX_WIDTH:g}"
        )


def check_floats(dtype: object, *, is_float: bool) -> None:
    """Refuse probabilities that are not floating-point numbers.

    Raises:
        InputError: Says the type and which one is needed.
    """
    if not is_float:
        raise InputError(
            f"probabilities are {dtype}; they must be floats from 0 to 1 "
            "(uint8-quantised scores: divide by 255)"
        )


def check_lowest(lowest: float) -> None:
    """Refuse probabilities if the lowest one is negative.

    Raises:
        InputError: Says the lowest value and the allowed range.
    """
    if lowest < 0:
        raise InputError(
            f"probabilities go down to {lowest:g}; they must be from 0 to 1 "
            "(logits: apply the softmax first)"
        )


def is_number(value: object) -> bool:
    """Return whether this is a single finite real number."""
    try:
        return not isinstance(value, (str, bytes)) and math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        return False
