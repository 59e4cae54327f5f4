"""Readers that turn the numbers or colours in label files into class indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError
from ..image_io import read_image, read_labels
from ..labels import IGNORE_INDEX, Colour
from .mat import read_mat

LabelReader = Callable[[Path], NDArray[Any]]
"""A function that reads a label file as (H, W) uint8 or uint16 class indices."""


@dataclass(frozen=True)
class IndexReader:
    """Reads class indices.

    Attributes:
        rgb_remedy: Advice in the error about a file of RGB colours.
    """

    rgb_remedy: str

    def __call__(self, path: Path) -> NDArray[Any]:
        return read_labels(path, rgb_remedy=self.rgb_remedy)


read_archived = IndexReader(
    "take the palette or grey PNG of the data set's own archive, which holds one index a pixel"
)
"""Reads class indices from the files of published archives."""


@dataclass(frozen=True)
class MatReader:
    """Reads the label map in a .mat file: a variable and the fields that lead to the map."""

    names: tuple[str, ...]

    def __call__(self, path: Path) -> NDArray[Any]:
        labels = read_mat(path, *self.names)
        if labels.ndim != 2 or not labels.size:
            raise DataError(f"{path} holds {'.'.join(self.names)} of shape {labels.shape}, not 2-D")
        if labels.min() < 0 or labels.max() > 65535 or np.any(labels != labels.astype(np.uint16)):
            raise DataError(f"{path} holds values that are not labels (integers from 0 to 65535)")
        return labels.astype(np.uint8 if labels.max() < 256 else np.uint16)


@dataclass(frozen=True)
class MappedReader:
    """Maps the numbers in a file to class indices.

    Attributes:
        table: Class index of every number that a file may hold, 0 first.
        read: Reads the numbers.
    """

    table: tuple[int, ...]
    read: LabelReader = read_archived

    def __call__(self, path: Path) -> NDArray[Any]:
        numbers = self.read(path)
        if numbers.max() >= len(self.table):
            strange = np.unique(numbers[numbers >= len(self.table)]).tolist()
            raise DataError(
                f"{path} holds the labels {strange[:8]}, but the data set's own files hold "
                f"0-{len(self.table) - 1}; unpack the original file again"
            )
        return np.array(self.table, np.uint8)[numbers]


@dataclass(frozen=True)
class ColourReader:
    """Reads palette and grey files as indices, and RGB files by class colour.

    Attributes:
        colours: Class index of every colour that may occur.
        may_hold_indices: Whether palette and grey files hold indices; otherwise they are read by
            colour too.
    """

    colours: Mapping[Colour, int]
    may_hold_indices: bool = True

    def __call__(self, path: Path) -> NDArray[Any]:
        if self.may_hold_indices and not _holds_colours(path):
            return read_labels(path)
        packed = read_image(path).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
        known = sorted(
            ((r << 16) + (g << 8) + b, index) for (r, g, b), index in self.colours.items()
        )
        numbers = np.array([number for number, _ in known], np.uint32)
        nearest = np.minimum(np.searchsorted(numbers, packed), len(known) - 1)
        is_unknown = numbers[nearest] != packed
        if is_unknown.any():
            strange = np.unique(packed[is_unknown]).tolist()
            colour = (strange[0] >> 16, strange[0] >> 8 & 255, strange[0] & 255)
            raise DataError(
                f"{path} holds {len(strange)} colour(s) without a class, such as {colour}, in "
                f"{is_unknown.mean():.1%} of its pixels; list them, or save the mask without "
                "compression or smoothing"
            )
        return np.array([index for _, index in known], np.uint8)[nearest]


def read_red_16bit(path: Path) -> NDArray[np.uint16]:
    """Read the red channel of a PNG with 16 bits per channel, where SYNTHIA stores the class.

    Returns:
        (H, W) uint16.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If the file is no such PNG, or is damaged.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; a PNG file is needed there")
    high = _decode_red(path, "RGB;16B")
    low = _decode_red(path, "RGB;16L")
    return (high.astype(np.uint16) * 256 + low).astype(np.uint16)


def _decode_red(path: Path, mode: str) -> NDArray[np.uint8]:
    """Read one byte of each 16-bit value: Pillow keeps only the high one, which holds no class."""
    try:
        with Image.open(path) as image:
            if [tile[3] for tile in image.tile] != ["RGB;16B"]:
                raise DataError(
                    f"{path} is not a PNG of 16-bit RGB, as the data set's own labels are; give "
                    "the folder with the original files"
                )
            image.tile = [image.tile[0]._replace(args=mode)]
            return np.array(image)[..., 0]
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError) as error:
        raise DataError(f"{path} is damaged or cut short: {error}") from error


def _holds_colours(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.format not in ("JPEG", "WEBP") and image.mode in ("RGB", "RGBA")
    except OSError:
        return False  # the reader of indices reports the error


def index_table(length: int, classes: Mapping[int, int]) -> tuple[int, ...]:
    """Return the table of a mapping; numbers outside the mapping are unknown."""
    return tuple(classes.get(number, IGNORE_INDEX) for number in range(length))


def shifted_table(num_classes: int) -> tuple[int, ...]:
    """Return the table of files in which 0 is unknown and classes start at 1."""
    return (IGNORE_INDEX, *range(num_classes))


@dataclass(frozen=True)
class BySuffix:
    """Picks a reader by the suffix of the file."""

    readers: tuple[tuple[str, LabelReader], ...]

    def __call__(self, path: Path) -> NDArray[Any]:
        return dict(self.readers)[path.suffix.lower()](path)
