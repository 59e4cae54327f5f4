"""Score files of any program: what is in them, and of which kind."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from . import probabilities as to
from .pickled import read_pickled
from .probabilities import Scores

SUFFIXES = frozenset((".npy", ".npz"))

# Class activation maps are saved at two sizes; the first has the photo's.
MAP_NAMES = ("high_res", "cam")


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
        background.

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
        ValueError: If the file is damaged, asks to run code, holds something else or scores of
            another size, or values that are no probabilities.
    """
    path = Path(path)
    try:
        content = _load(path)
        values, classes, step = _find(content)
        values = _check_shape(values, size_hw)
        names = _names(content, len(values))
        if background is not None or background_power is not None:
            found = to.with_background(
                values, background=background, background_power=background_power
            )
            return Scores(found, (0, *(c + 1 for c in classes or range(len(values)))))
        if classes is not None:
            raise ValueError(
                "class activation maps have no background; give background=… (--background 0.3) "
                "or background_power=… (--background-power 8)"
            )
        if step is not None:
            found = to.from_energies(values, step)
        else:
            found = to.from_logits(values) if logits else to.from_probabilities(values)
        return Scores(found, tuple(range(len(found))), names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _load(path: Path) -> Any:
    """Load an array, or a mapping from names to arrays."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError("scores are read from .npy and .npz files")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return _load_npy(file)
        with zipfile.ZipFile(path) as archive:
            return {
                name.removesuffix(".npy"): _load_npy(archive.open(name))
                for name in archive.namelist()
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"damaged or cut short: {error}") from error


def _load_npy(file: IO[bytes]) -> Any:
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    _, _, dtype = read_header(file)
    if dtype.hasobject:
        return read_pickled(cast("Any", file))
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def _find(content: Any) -> tuple[NDArray[Any], list[int] | None, float | None]:
    """Find values, classes of a foreground (or None), and the step of a unary (or None)."""
    if isinstance(content, np.ndarray):
        return content, None, None
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"holds {type(content).__name__}; save an array or a dict of arrays")
    held = cast("Mapping[Any, Any]", content)
    if "unary" in held:
        return _array(held, "unary"), None, float(held.get("step", 1))
    for name in MAP_NAMES:
        if name in held and "keys" in held:
            return _array(held, name), _classes(held["keys"], len(held[name])), None
    if "probabilities" in held:
        return _array(held, "probabilities"), None, None
    if all(isinstance(key, int) or str(key).isdecimal() for key in held):
        maps = [np.asarray(value) for value in held.values()]
        if len({m.shape for m in maps}) != 1:
            raise ValueError("the maps of its classes differ in size")
        return np.stack(maps), _classes([int(key) for key in held], len(maps)), None
    if len(held) == 1:
        return _array(held, next(iter(held))), None, None
    raise ValueError(
        f"holds {', '.join(map(repr, held))}; name the scores `probabilities`, or save one array"
    )


def _array(held: Mapping[Any, Any], name: Any) -> NDArray[Any]:
    if not isinstance(held[name], np.ndarray):
        raise ValueError(f"{name!r} is {type(held[name]).__name__}; save it as an array")
    return held[name]


def _classes(keys: Any, count: int) -> list[int]:
    """Check that the numbers of foreground classes are whole, different and as many as maps."""
    numbers = np.asarray(keys)
    if numbers.size == 0:
        numbers = numbers.astype(int)
    if (
        numbers.shape != (count,)
        or numbers.dtype.kind not in "ui"
        or len(set(numbers.tolist())) < count
        or numbers.min(initial=0) < 0
        or numbers.max(initial=0) >= 65535
    ):
        raise ValueError(f"keys are {numbers.tolist()} for {count} maps; give each map one class")
    return numbers.tolist()


def _check_shape(values: NDArray[Any], size_hw: tuple[int, int] | None) -> NDArray[Any]:
    """Refuse what is not (K, H, W), or (1, K, H, W), of the photo's size."""
    if values.ndim == 4 and len(values) == 1:
        values = values[0]
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise ValueError(f"scores have shape {values.shape}; save (classes, rows, columns)")
    if size_hw is None or values.shape[1:] == tuple(size_hw):
        return values
    if values.shape[:2] == tuple(size_hw):
        raise ValueError(
            f"scores have shape {values.shape}, the classes last; save scores.transpose(2, 0, 1)"
        )
    height, width = values.shape[1:]
    raise ValueError(
        f"scores are {height}x{width} but the photo is {size_hw[0]}x{size_hw[1]}; resize scores to "
        "their photo as their network does, before the softmax, and save those"
    )


def _names(content: Any, count: int) -> tuple[str, ...] | None:
    if not isinstance(content, Mapping) or "names" not in content:
        return None
    names = tuple(str(name) for name in np.ravel(cast("Any", content["names"])))
    return names if len(names) == count else None
