"""Read score files: .npy and .npz files of probabilities, logits, energies or activation maps."""

from __future__ import annotations

import lzma
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..errors import DataError
from . import probabilities as to
from .pickled import NUMBERS, read_pickled
from .probabilities import Scores

SUFFIXES = frozenset((".npy", ".npz"))

# Class activation maps are saved at two sizes; `high_res` has the size of the image.
MAP_NAMES = ("high_res", "cam")
# Errors that zipfile and numpy raise for damaged bytes, besides ValueError.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,
    SyntaxError,
    EOFError,
    AttributeError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
)


def read_scores(
    path: str | os.PathLike[str],
    size_hw: tuple[int, int] | None = None,
    *,
    logits: bool = False,
    background: float | None = None,
    background_power: float | None = None,
) -> Scores:
    """Read saved class scores as probabilities.

    Supported are .npy and .npz files with
      * one array (K, H, W) of float16, float32, float64, or uint8 (0 to 1 in 255 steps); in an .npz
        file with several arrays, the one named `probabilities`;
      * `unary` and `step`, as `atrous segment --probabilities` writes: p = exp(-step * unary);
      * class activation maps from weakly supervised training: `keys` with `high_res` or `cam`, or
        one (H, W) map per class number. Class c of such a file has the label c + 1; 0 is the
        background. With a background and `size_hw`, an empty dictionary is an image without
        classes.

    A pickled dictionary is read without running the functions that it names. torch tensors in it
    count as arrays.

    Args:
        path: The file.
        size_hw: Rows and columns that the scores must have.
        logits: Whether the scores are logits, to be passed through softmax.
        background: The file holds foreground scores only: add class 0 with this score in front, and
            scale each pixel to a sum of 1.
        background_power: The same, with the score (1 - highest foreground score) to this power.

    Raises:
        FileNotFoundError: If the file does not exist.
        DataError: If the file is damaged or asks to run code, or if it holds no scores, scores of
            another size, or values that are not probabilities.
    """
    path = Path(path)
    try:
        content = _load(path)
        has_background = background is not None or background_power is not None
        if has_background and size_hw is not None and isinstance(content, dict) and not content:
            content = {"keys": [], "cam": np.zeros((0, *size_hw), np.float32)}
        values, classes, step = _find(content)
        values = _check_shape(values, size_hw)
        names = _names(content, len(values))
        if has_background:
            found = to.with_background(
                values, background=background, background_power=background_power
            )
            return Scores(found, (0, *(c + 1 for c in classes or range(len(values)))))
        if classes is not None:
            raise DataError(
                "class activation maps have no background; give background=… (--background 0.3) "
                "or background_power=… (--background-power 8)"
            )
        if step is not None:
            found = to.from_energies(values, step)
        else:
            found = to.from_logits(values) if logits else to.from_probabilities(values)
        return Scores(found, tuple(range(len(found))), names)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _load(path: Path) -> Any:
    """Load an array, or a mapping from names to arrays."""
    if path.suffix.lower() not in SUFFIXES:
        raise DataError("scores are read from .npy and .npz files")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return _load_npy(file, path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            return {
                info.filename.removesuffix(".npy"): _load_npy(archive.open(info), info.file_size)
                for info in archive.infolist()
            }
    except (*_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # the file cannot be opened; errors about its content carry no file name
        raise DataError(f"damaged or cut short: {error}") from error


def _load_npy(file: IO[bytes], size: int) -> Any:
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        return read_pickled(cast("Any", file), size)
    # numpy reads True as 1 and -1 as "the rest".
    if any(isinstance(n, bool) or n < 0 for n in shape) or math.prod(shape) * dtype.itemsize > size:
        raise DataError(f"damaged or cut short: {size} bytes for an array of shape {shape}")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _find(content: Any) -> tuple[NDArray[Any], list[int] | None, float | None]:
    """Return the values, the foreground's classes (or None) and the step of a unary (or None)."""
    if isinstance(content, np.ndarray):
        return content, None, None
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"holds {type(content).__name__}; save an array or a dict of arrays")
    entries = cast("Mapping[Any, Any]", content)
    if "unary" in entries:
        return _array(entries, "unary"), None, _check_step(entries.get("step", 1))
    for name in MAP_NAMES:
        if name in entries and "keys" in entries:
            maps = _array(entries, name)
            return maps, _check_classes(entries["keys"], len(maps)), None
    if "probabilities" in entries:
        return _array(entries, "probabilities"), None, None
    if all(isinstance(key, int) or str(key).isdecimal() for key in entries):
        maps = [_array(entries, key) for key in entries]
        if len({m.shape for m in maps}) != 1:
            raise DataError("the maps of the classes differ in size")
        return np.stack(maps), _check_classes([int(key) for key in entries], len(maps)), None
    if len(entries) == 1:
        return _array(entries, next(iter(entries))), None, None
    raise DataError(
        f"holds {', '.join(map(repr, entries))}; name the scores `probabilities`, or save one array"
    )


def _array(entries: Mapping[Any, Any], name: Any) -> NDArray[Any]:
    value = entries[name]
    if not isinstance(value, np.ndarray):
        raise DataError(f"{name!r} is {type(value).__name__}; save it as an array")
    if not value.ndim or value.dtype.kind not in NUMBERS:
        kind = value.dtype if value.ndim else "a single value"
        raise DataError(f"{name!r} is {kind}; save an array of numbers")
    return value


def _check_step(value: Any) -> float:
    """Check the step of a unary; it must fit in float32."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"step is {type(value).__name__}; save one finite positive number")
    limits = np.finfo(np.float32)
    if not float(limits.tiny) <= value <= float(limits.max):  # float(), to compare 10**400 too
        raise DataError(f"step is {value}; save one finite positive number")
    return float(value)


def _is_flat(value: Any, *kinds: type) -> bool:
    """Whether `value` is a list of these kinds only: nested lists can be exponentially long."""
    return isinstance(value, (list, tuple)) and all(isinstance(item, kinds) for item in value)


def _check_classes(keys: Any, count: int) -> list[int]:
    """Check that each map has a class number of its own."""
    if not isinstance(keys, np.ndarray) and not _is_flat(keys, int, float):
        raise DataError(f"'keys' is {type(keys).__name__}; save an array or list of whole numbers")
    numbers = np.asarray(keys)
    if numbers.size == 0:
        numbers = np.zeros(numbers.shape, int)
    if numbers.shape != (count,):  # print the shape only: (2**40, 0) is an array of 0 bytes
        raise DataError(
            f"keys have shape {numbers.shape} for {count} maps; give each map one class"
        )
    if (
        numbers.dtype.kind not in "ui"
        or len(set(numbers.tolist())) < count
        or numbers.min(initial=0) < 0
        or numbers.max(initial=0) >= 65535
    ):
        raise DataError(f"keys are {numbers.tolist()}; number the classes 0-65534, each once")
    return numbers.tolist()


def _check_shape(values: NDArray[Any], size_hw: tuple[int, int] | None) -> NDArray[Any]:
    """Check that scores are (K, H, W), or (1, K, H, W), of the image's size."""
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise DataError(f"scores have shape {values.shape}; save (classes, rows, columns)")
    if size_hw is None or values.shape[1:] == tuple(size_hw):
        return values
    if values.shape[:2] == tuple(size_hw):
        raise DataError(
            f"scores have shape {values.shape}, the classes last; save scores.transpose(2, 0, 1)"
        )
    height, width = values.shape[1:]
    raise DataError(
        f"scores are {height}x{width} but the image is {size_hw[0]}x{size_hw[1]}; resize the "
        "scores to the image as their network does, before the softmax, and save those"
    )


def _names(content: Any, count: int) -> tuple[str, ...] | None:
    names: Any = content.get("names") if isinstance(content, Mapping) else None
    if names is None:
        return None
    if isinstance(names, np.ndarray):
        names = names.ravel()
    elif not _is_flat(names, str):
        raise DataError(f"'names' is {type(names).__name__}; save an array or list of text")
    return tuple(map(str, names)) if len(names) == count else None
