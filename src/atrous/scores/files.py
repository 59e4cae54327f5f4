"""Score files of any program: what is in them, and of which kind."""

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

# Class activation maps are saved at two sizes; the first has the photo's.
MAP_NAMES = ("high_res", "cam")
# What zip files and numpy's headers raise on damaged bytes, beside ValueError.
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

    Understood are .npy and .npz files with
      * one array (K, H, W), float16, float32, float64, or uint8 for 0 to 1 in 255 steps; in an .npz
        file of several arrays the one called `probabilities`;
      * `unary` and `step`, as `atrous segment --probabilities` writes: p = exp(-step * unary);
      * class activation maps of weakly supervised training: `keys` with `high_res` or `cam`, or one
        (H, W) map a class number. Class c of such a file has the label c + 1, and 0 is the
        background. With a background and `size_hw`, an empty dictionary is a photo of no class.

    A pickled dictionary is read without running what it asks for; torch's tensors in it count as
    arrays.

    Args:
        path: The file.
        size_hw: Rows and columns that the scores must have.
        logits: Whether softmax is to be taken.
        background: The file holds foreground alone: class 0 with this score is put in front, and
            each pixel scaled to a sum of 1.
        background_power: The same with the score (1 - highest foreground score) to this power.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If the file is damaged, asks to run code, holds something else or scores of
            another size, or values that are no probabilities.
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
            raise  # it cannot be opened; what is found inside names no file
        raise DataError(f"damaged or cut short: {error}") from error


def _load_npy(file: IO[bytes], size: int) -> Any:
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        return read_pickled(cast("Any", file), size)
    # numpy takes True for 1 and -1 for "all there is".
    if any(isinstance(n, bool) or n < 0 for n in shape) or math.prod(shape) * dtype.itemsize > size:
        raise DataError(f"damaged or cut short: {size} bytes for an array of shape {shape}")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _find(content: Any) -> tuple[NDArray[Any], list[int] | None, float | None]:
    """Find values, classes of a foreground (or None), and the step of a unary (or None)."""
    if isinstance(content, np.ndarray):
        return content, None, None
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"holds {type(content).__name__}; save an array or a dict of arrays")
    held = cast("Mapping[Any, Any]", content)
    if "unary" in held:
        return _array(held, "unary"), None, _step(held.get("step", 1))
    for name in MAP_NAMES:
        if name in held and "keys" in held:
            maps = _array(held, name)
            return maps, _classes(held["keys"], len(maps)), None
    if "probabilities" in held:
        return _array(held, "probabilities"), None, None
    if all(isinstance(key, int) or str(key).isdecimal() for key in held):
        maps = [_array(held, key) for key in held]
        if len({m.shape for m in maps}) != 1:
            raise DataError("the maps of its classes differ in size")
        return np.stack(maps), _classes([int(key) for key in held], len(maps)), None
    if len(held) == 1:
        return _array(held, next(iter(held))), None, None
    raise DataError(
        f"holds {', '.join(map(repr, held))}; name the scores `probabilities`, or save one array"
    )


def _array(held: Mapping[Any, Any], name: Any) -> NDArray[Any]:
    value = held[name]
    if not isinstance(value, np.ndarray):
        raise DataError(f"{name!r} is {type(value).__name__}; save it as an array")
    if not value.ndim or value.dtype.kind not in NUMBERS:
        kind = value.dtype if value.ndim else "a single value"
        raise DataError(f"{name!r} is {kind}; save an array of numbers")
    return value


def _step(value: Any) -> float:
    """Check the step of a unary; float32 must hold it."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"step is {type(value).__name__}; save one finite positive number")
    limits = np.finfo(np.float32)
    if not float(limits.tiny) <= value <= float(limits.max):  # float(): 10**400 is compared as well
        raise DataError(f"step is {value}; save one finite positive number")
    return float(value)


def _is_flat(value: Any, *kinds: type) -> bool:
    """Say whether this is a list without lists in it: nested ones can grow without end."""
    return isinstance(value, (list, tuple)) and all(isinstance(item, kinds) for item in value)


def _classes(keys: Any, count: int) -> list[int]:
    """Check that the numbers of foreground classes are whole, different and as many as maps."""
    if not isinstance(keys, np.ndarray) and not _is_flat(keys, int, float):
        raise DataError(f"'keys' is {type(keys).__name__}; save an array or list of whole numbers")
    numbers = np.asarray(keys)
    if numbers.size == 0:
        numbers = np.zeros(numbers.shape, int)
    if numbers.shape != (count,):  # not printed: a shape can claim any length beside a 0
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
    """Refuse what is not (K, H, W), or (1, K, H, W), of the photo's size."""
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
        f"scores are {height}x{width} but the photo is {size_hw[0]}x{size_hw[1]}; resize scores to "
        "their photo as their network does, before the softmax, and save those"
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
