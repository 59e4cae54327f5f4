"""Convert the arguments of the drop-in to what the kernel takes, or refuse them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..params import MAX_WEIGHT, check_width

FloatArray = NDArray[np.float32]

MAX_COUNT = 2**31 - 1
# An infinite energy, -log(0), excludes a class. It is clipped to 1e20, so that sums stay finite.
MAX_ENERGY = 1e20


def whole(name: str, value: Any, *, least: int, most: int = MAX_COUNT) -> int:
    """Return an integer; like the original, accept floats without a fraction as well.

    Raises:
        TypeError: If it is not a number.
        InputError: If it has a fraction or is out of range.
    """
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    elif isinstance(value, (float, np.floating)):
        raise InputError(f"{name} is {value}; it must be a whole number")
    number = operator.index(value)
    if not least <= number <= most:
        raise InputError(f"{name} is {number}; it must be from {least} to {most}")
    return number


def widths(name: str, value: Any, count: int) -> FloatArray:
    """Return `count` kernel widths from one number or a sequence; further numbers are ignored.

    Raises:
        InputError: If there are too few, or one is not positive or beyond float32's range.
    """
    stds = _numbers(name, value, np.float64)
    if stds.ndim == 0:
        stds = np.full(count, stds)
    if stds.ndim != 1 or len(stds) < count:
        raise InputError(f"{name} is {value!r}; it must be one number or {count} numbers")
    for std in stds[:count]:
        check_width(name, float(std))
    return stds[:count].astype(np.float32)


def energies(name: str, value: Any, *, finite: bool = False) -> FloatArray:
    """Return (C, N) energies from (C, N) or (C, H, W), in any memory order.

    Raises:
        InputError: If they are not float32 or float16, are not 2-D or 3-D, are empty, or contain
            NaN or -infinity (with `finite`, also infinity).
    """
    array = np.asarray(value)
    if value is None or array.dtype.type not in (np.float32, np.float16):
        came = "None" if value is None else str(array.dtype)
        raise InputError(
            f"{name} is {came}; it must be a float32 array (float64: .astype(np.float32))"
        )
    if array.ndim not in (2, 3) or not array.size:
        raise InputError(
            f"{name} has the shape {array.shape}; it must be (labels, points) or "
            "(labels, h, w), with at least one of each"
        )
    array = np.ascontiguousarray(array.reshape(len(array), -1), np.float32)
    lowest = array.min()
    if not lowest > -np.inf:
        raise InputError(f"{name} contains {lowest}; energies must be greater than -infinity")
    highest = array.max()
    if finite and highest == np.inf:
        raise InputError(f"{name} contains inf; it must contain finite numbers")
    if lowest < -MAX_ENERGY or highest > MAX_ENERGY:
        array = np.clip(array, -MAX_ENERGY, MAX_ENERGY)
    return array


def compatibility(value: Any, n_labels: int) -> FloatArray:
    """Return the label compatibility: 0 dimensions (Potts), (C,) or (C, C).

    Raises:
        InputError: If an array is not float32 or float16, has a wrong shape, or contains values
            that are not finite or above 1e20.
    """
    if (
        isinstance(value, np.ndarray)
        and value.ndim
        and value.dtype.type not in (np.float32, np.float16)
    ):
        raise InputError(
            f"compat is {value.dtype}; an array must be float32: compat.astype(np.float32)"
        )
    compat = _numbers("compat", value, np.float64)
    if compat.shape not in ((), (n_labels,), (n_labels, n_labels)):
        raise InputError(
            f"compat has the shape {compat.shape}; for {n_labels} labels it must be a number, "
            f"({n_labels},) or ({n_labels}, {n_labels})"
        )
    if not (np.abs(compat) <= MAX_WEIGHT).all():  # also refuses NaN
        raise InputError(f"compat contains values that are not finite or above {MAX_WEIGHT:g}")
    return compat.astype(np.float32)


def features(name: str, value: Any) -> NDArray[Any]:
    """Return an array of finite real numbers within float32's range, in its own dtype.

    Raises:
        InputError: If it is anything else.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} is {array.dtype}; it must be an array of real numbers")
    if not reach(array) < MAX_ENERGY:  # also refuses NaN
        raise InputError(
            f"{name} contains NaN, infinite or huge values; it must contain finite numbers"
        )
    return array


def reach(array: NDArray[Any]) -> float:
    """Return the largest absolute value; NaN if the array contains NaN, 0 if it is empty."""
    if not array.size:
        return 0.0
    low, high = float(array.min()), float(array.max())  # abs() of the lowest int8 would overflow
    return max(-low, high, key=lambda value: (value != value, value))


def _numbers(name: str, value: ArrayLike, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    try:
        return np.asarray(value, dtype)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} is {value!r}; it must be a number or numbers") from None
