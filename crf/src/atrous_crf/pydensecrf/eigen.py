"""The matrix and vector types of pydensecrf.eigen, here as numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError

__all__ = ["MatrixXf", "VectorXf", "matrixXf", "vectorXf"]


class _EigenArray(np.ndarray[Any, np.dtype[np.float32]]):
    """A float32 array; the results of numpy functions are plain arrays."""

    def __array_function__(self, *call: Any) -> Any:
        result = super().__array_function__(*call)
        return np.asarray(result) if isinstance(result, _EigenArray) else result


class MatrixXf(_EigenArray):
    """(rows, columns) float32; the constructor returns an empty matrix."""

    def __new__(cls) -> MatrixXf:
        return np.empty((0, 0), np.float32).view(cls)


class VectorXf(_EigenArray):
    """(n,) float32; the constructor returns an empty vector."""

    def __new__(cls) -> VectorXf:
        return np.empty(0, np.float32).view(cls)


def matrixXf(arr: ArrayLike) -> MatrixXf:  # noqa: N802 - the original's name
    """Copy a two-dimensional float32 (or float16) array.

    Raises:
        TypeError: If it is not an array.
        InputError: If it has a wrong dtype or number of dimensions.
    """
    return _copy(arr, 2, "matrixXf").view(MatrixXf)


def vectorXf(arr: ArrayLike) -> VectorXf:  # noqa: N802 - the original's name
    """Copy a one-dimensional float32 (or float16) array.

    Raises:
        TypeError: If it is not an array.
        InputError: If it has a wrong dtype or number of dimensions.
    """
    return _copy(arr, 1, "vectorXf").view(VectorXf)


def _copy(values: ArrayLike, ndim: int, name: str) -> NDArray[np.float32]:
    if values is None:
        raise TypeError(f"{name} got None; it needs a float32 array")
    array = np.asarray(values)
    if array.dtype.type not in (np.float32, np.float16):
        raise InputError(f"{name} got {array.dtype}; it needs float32: .astype(np.float32)")
    if array.ndim != ndim:
        raise InputError(f"{name} got {array.ndim} dimensions; it needs {ndim}")
    return array.astype(np.float32, order="C")
