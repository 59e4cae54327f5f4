"""Readers that turn the numbers or colours in label files into class indices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError
from ..image_io import SAVE_INDICES, read_image, read_labels
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
class NumberReader:
    """Reads the numbers in masks as a list of classes numbers them.

    Attributes:
        numbers: Class index of every number that a mask may hold; 255 may occur too, as unknown.
        source: The list of classes, for error messages.
        rgb_remedy: Advice in the error about a file of RGB colours.
    """

    numbers: Mapping[int, int]
    source: Path
    rgb_remedy: str = SAVE_INDICES

    def __call__(self, path: Path) -> NDArray[Any]:
        return self.convert(read_labels(path, rgb_remedy=self.rgb_remedy), path)

    def convert(self, labels: NDArray[Any], path: Path) -> NDArray[np.uint8]:
        """Map the numbers of the mask in `path` to class indices."""
        numbers = {IGNORE_INDEX: IGNORE_INDEX} | dict(self.numbers)
        strange = [number for number in find_values(labels) if number not in numbers]
        if strange:
            raise DataError(
                f"{path} holds the labels {strange[:8]}, but {self.source.name} gives a meaning to "
                f"{_ranges(self.numbers)} only, and 255 is unknown; map them, or fix the file"
            )
        table = np.full(max(numbers) + 1, IGNORE_INDEX, np.uint8)
        table[list(numbers)] = list(numbers.values())
        return table[labels]


@dataclass(frozen=True)
class ColourReader:
    """Reads masks of every kind by the colours that they show.

    Attributes:
        colours: Class index of every colour that may occur.
        remedy: Advice in the error about another colour.
    """

    colours: Mapping[Colour, int]
    remedy: str = "list them, or save the mask without compression or smoothing"

    def __call__(self, path: Path) -> NDArray[Any]:
        packed = _read_colours(path).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
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
                f"{is_unknown.mean():.1%} of its pixels; {self.remedy}"
            )
        return np.array([index for _, index in known], np.uint8)[nearest]


@dataclass(frozen=True)
class ListReader:
    """Reads masks by number or by colour, whichever the file can mean.

    RGB masks are read by colour. A palette or grey mask holds numbers, unless the colours that it
    shows are those of the classes: programs that make PNG files smaller turn RGB masks into such
    files, with numbers in any order. A file that can mean both is refused.

    Attributes:
        numbers: Class index of every number, for files of numbers.
        colours: Class index of every colour.
        source: The list of classes, for error messages.
        moves_numbers: Whether a void line comes before a class, so that files of numbers can
            count it or not.
    """

    numbers: Mapping[int, int]
    colours: Mapping[Colour, int]
    source: Path
    moves_numbers: bool = False

    def __call__(self, path: Path) -> NDArray[Any]:
        if _holds_colours(path):
            return ColourReader(self.colours)(path)
        labels = read_labels(path)
        shown = shown_colours(path)
        present = find_values(labels)
        if shown is None or all(shown[n] == (n, n, n) for n in present):
            return self._read_grey(path, labels)
        if not any(shown[n] in self.colours for n in present):
            return self._read_numbers(path, labels)
        unlisted = [n for n in present if shown[n] not in self.colours and n != IGNORE_INDEX]
        if not unlisted:
            by_colour = [self.colours.get(shown[n], IGNORE_INDEX) for n in present]
            reader = NumberReader(dict(zip(present, by_colour, strict=True)), self.source)
            return reader.convert(labels, path)
        moved = [
            n
            for n in present
            if shown[n] in self.colours and self.colours[shown[n]] != self.numbers.get(n)
        ]
        if not moved:
            return self._read_numbers(path, labels)
        raise DataError(
            f"{path} can be read in two ways: its palette shows number {moved[0]} in the colour "
            f"{shown[moved[0]]} of another line of {self.source.name}, and number {unlisted[0]} in "
            f"{shown[unlisted[0]]}, which is not listed; list this colour too, or add the line "
            f"`masks: indices` to {self.source.name} if the numbers count its lines from 0"
        )

    def _read_grey(self, path: Path, labels: NDArray[Any]) -> NDArray[Any]:
        """Read a file that may hold numbers, or colours that happen to be grey."""
        greys = find_values(_read_colours(path)[..., 0])
        values = find_values(labels)
        are_colours = all((grey, grey, grey) in self.colours for grey in greys)
        if not are_colours:
            return self._read_numbers(path, labels)
        by_colour = ColourReader(self.colours)(path)
        if any(n not in self.numbers and n != IGNORE_INDEX for n in values):
            return by_colour
        by_number = NumberReader(self.numbers, self.source).convert(labels, path)
        if np.array_equal(by_colour, by_number):
            return by_colour
        if 255 in greys or _holds_rgb(path.parent):
            raise DataError(
                f"{path} can be read in two ways: as the numbers {values} and as grey colours; add "
                f"the line `masks: colours` or `masks: indices` to {self.source.name}"
            )
        return self._read_numbers(path, labels)

    def _read_numbers(self, path: Path, labels: NDArray[Any]) -> NDArray[Any]:
        if self.moves_numbers and any(n != IGNORE_INDEX for n in find_values(labels)):
            raise DataError(
                f"{path} holds numbers, and {self.source.name} has the line `void` before a class; "
                "add the line `masks: indices` if `void` counts as a number, or move `void` to the "
                "end if it does not"
            )
        return NumberReader(self.numbers, self.source).convert(labels, path)


def find_class_colours(path: Path, labels: NDArray[Any]) -> dict[int, Colour]:
    """Return the colour that a file's palette shows for each class; empty without a palette.

    Args:
        path: A label file.
        labels: What a reader made of it.
    """
    shown = None if path.suffix.lower() == ".mat" else shown_colours(path)
    if shown is None:
        return {}
    numbers = read_labels(path).ravel()
    classes, places = np.unique(labels, return_index=True)
    return {int(c): shown[numbers[i]] for c, i in zip(classes, places, strict=True)}


def are_black_and_white(paths: Iterable[Path]) -> bool:
    """Find out whether all masks hold only 0, shown black, and 255, shown white, and both occur.

    Reads until a mask holds something else. Files that cannot be read are skipped.
    """
    found = set[int]()
    for path in paths:
        if _holds_colours(path):
            return False
        try:
            values = find_values(read_labels(path))
        except (DataError, OSError):
            continue
        shown = shown_colours(path)
        if not set(values) <= {0, 255}:
            return False
        if shown is not None and any(shown[n] != (n, n, n) for n in values):
            return False
        found |= set(values)
    return len(found) == 2


def find_values(labels: NDArray[Any]) -> list[int]:
    """Return the different values, ascending."""
    return np.flatnonzero(np.bincount(labels.ravel())).tolist()


def _ranges(numbers: Iterable[int]) -> str:
    """Name numbers as in 0-3, 7."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def _read_colours(path: Path) -> NDArray[np.uint8]:
    """Read the colours that a mask shows: (H, W, 3). A palette's transparency is left out."""
    pixels = read_image(path)
    shown = shown_colours(path)
    if shown is not None:
        return np.array(shown, np.uint8)[read_labels(path)]
    with Image.open(path) as image:
        if image.mode in ("RGBA", "LA") and image.getchannel("A").getextrema()[0] != 255:
            raise DataError(
                f"{path} has transparent pixels, whose colour is not defined; save the mask "
                "without transparency, unknown pixels in the colour of `void`"
            )
    return pixels


def shown_colours(path: Path) -> list[Colour] | None:
    """Return the palette of a file that was read before, 256 colours; None if it has none."""
    with Image.open(path) as image:
        if image.mode != "P":
            return None
        flat = image.getpalette("RGB") or []
    flat += [0] * (768 - len(flat))
    return [(flat[i], flat[i + 1], flat[i + 2]) for i in range(0, 768, 3)]


@cache
def _holds_rgb(folder: Path) -> bool:
    return any(_holds_colours(path) for path in sorted(folder.iterdir()) if path.is_file())


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
    except (OSError, Image.DecompressionBombError):
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
