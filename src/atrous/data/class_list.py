"""The list of classes in a user's own data set: names, colours, and how masks are stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import DataError
from ..labels import IGNORE_INDEX, Colour, LabelSet, voc_palette
from .base import read_lines

VOID = "void"
LABELME_IGNORE, LABELME_BACKGROUND = "__ignore__", "_background_"
OWN_LIST, CVAT_LIST = "classes.txt", "labelmap.txt"
LABELME_LISTS = ("labels.txt", "class_names.txt")  # read and written by labelme2voc.py

Masks = Literal["auto", "indices", "colours"]
_MASKS: dict[str, Masks] = {"indices": "indices", "colours": "colours", "colors": "colours"}

_SPACED = re.compile(r"(?P<name>.*\S)\s+(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})")
_CVAT = re.compile(
    r"(?P<name>[^:]*[^:\s])\s*:\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*(:.*)?"
)
_NUMBERED = re.compile(r"(\d+)\s*[\s:,;.]\s*[^\d\s].*")
_LIKE_A_COLOUR = re.compile(
    r".*[^\d.](\d+)\s*[,; \t]\s*(\d+)\s*[,; \t]\s*(\d+)\s*[)\]:]*"  # road 128,64,128
    r"|.*#[\da-f]{6}"  # road #804080
    r"|\d+[,; \t]+\d+[,; \t]+\d+\D.*",  # 128 64 128 road
    re.I,
)


@dataclass(frozen=True)
class ClassList:
    """The classes of a data set, and how their masks are stored.

    Attributes:
        path: The file.
        label_set: Classes in the order of the file, without void.
        numbers: Number in an index mask -> class index, or 255 for void. The first line is 0.
        colours: Colour in a mask -> class index, or 255 for void; empty if the file has none.
        masks: What the line `masks: …` says; `auto` without one.
    """

    path: Path
    label_set: LabelSet
    numbers: Mapping[int, int]
    colours: Mapping[Colour, int]
    masks: Masks

    @property
    def moves_numbers(self) -> bool:
        """Whether a void line before a class makes class indices differ from line numbers."""
        return any(index not in (number, IGNORE_INDEX) for number, index in self.numbers.items())

    def with_line_numbers(self) -> ClassList:
        """Return the list with line numbers in place of class indices; void stays 255."""
        number_of = {index: number for number, index in self.numbers.items()}
        number_of[IGNORE_INDEX] = IGNORE_INDEX
        return replace(
            self,
            numbers={number: number_of[index] for number, index in self.numbers.items()},
            colours={colour: number_of[index] for colour, index in self.colours.items()},
        )

    @property
    def is_grey(self) -> bool:
        """Whether all colours are greys, as for masks of 0 and 255."""
        return bool(self.colours) and all(r == g == b for r, g, b in self.colours)


def find_class_list(root: Path) -> Path | None:
    """Return ROOT/classes.txt, or else the list of CVAT or labelme; None if there is none.

    Raises:
        DataError: If there is no classes.txt, but several other lists.
    """
    if (root / OWN_LIST).exists():
        return root / OWN_LIST
    found = [root / name for name in (CVAT_LIST, *LABELME_LISTS) if (root / name).is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DataError(f"{root} holds {names}; keep one list of classes, or write {OWN_LIST}")
    return found[0] if found else None


def read_class_list(path: Path) -> ClassList:
    """Read a list of classes: one per line, class 0 first.

    A line is `name`, `name R G B` or, as in CVAT's labelmap.txt, `name:R,G,B`. The line `void`
    gives the number or the colour of unknown pixels; it is not a class. The line `masks: indices`
    or `masks: colours` tells how the masks are stored. Lines that start with `# ` are comments.
    labelme's lists start with `__ignore__`, which has no number, or `_background_`, which is 0.

    Raises:
        DataError: If the list is empty, or a line or a colour is wrong.
    """
    entries, masks = _split_lines(path)
    if path.name in LABELME_LISTS and entries[0] not in (LABELME_IGNORE, LABELME_BACKGROUND):
        raise DataError(
            f"{path} starts with {entries[0]!r}; labelme's list starts with {LABELME_IGNORE} or "
            f"{LABELME_BACKGROUND}. If the line numbers are the indices in the masks (the first is "
            f"0), rename it to {OWN_LIST}"
        )
    _check_numbering(path, entries)
    if LABELME_IGNORE in entries[1:]:
        raise DataError(
            f"{path} has the line {LABELME_IGNORE} below others; labelme needs it first, where it "
            f"has no number. For an index that is unknown, write {VOID}"
        )
    if entries[0] == LABELME_IGNORE:  # -1 in labelme, stored as 255
        entries = entries[1:]
    found = _read_colours(path, entries)
    names = [name for name, _ in found] if found else entries
    names = ["background" if name == LABELME_BACKGROUND else name for name in names]
    is_void = [name.lower() == VOID for name in names]
    classes = tuple(name for name, void in zip(names, is_void, strict=True) if not void)
    if not classes:
        raise DataError(f"{path} names no class; write one class name per line, class 0 first")
    numbers: dict[int, int] = {}
    for number, void in enumerate(is_void):
        numbers[number] = IGNORE_INDEX if void else number - sum(is_void[:number])
    palette, colours = voc_palette(len(classes)), dict[Colour, int]()
    if found:
        colours = {colour: numbers[number] for number, (_, colour) in enumerate(found)}
        palette = tuple(c for (_, c), void in zip(found, is_void, strict=True) if not void)
    elif masks == "colours":
        raise DataError(f"{path} says `masks: colours`; give `name R G B` to every class")
    if path.name == CVAT_LIST and masks == "auto":
        masks = "colours"  # CVAT numbers nothing
        if not colours:
            raise DataError(f"{path} has no line `name:R,G,B`, as CVAT writes; take CVAT's file")
    return ClassList(path, LabelSet(classes, palette), numbers, colours, masks)


def _split_lines(path: Path) -> tuple[list[str], Masks]:
    """Read the lines with classes, and what the line `masks: …` says."""
    entries, masks = list[str](), "auto"
    for line in map(str.strip, read_lines(path)):
        key, colon, value = line.partition(":")
        if key.strip().lower() == "masks" and colon and not re.match(r"\s*\d", value):
            if value.strip() not in _MASKS:
                raise DataError(
                    f"{path} has the line {line!r}; write `masks: indices` or `masks: colours`"
                )
            masks = _MASKS[value.strip()]
        elif line and line != "#" and not line.startswith("# "):
            entries.append(line)
    if not entries:
        raise DataError(f"{path} is empty; write one class name per line, class 0 first")
    return entries, masks


def _check_numbering(path: Path, lines: list[str]) -> None:
    """Refuse lines that start with a number other than their own: the first line is 0."""
    starts = [_NUMBERED.fullmatch(line) for line in lines]
    numbers = [int(start[1]) for start in starts if start]
    if len(numbers) == len(lines) and numbers != list(range(len(lines))):
        raise DataError(
            f"{path} numbers its lines {', '.join(map(str, numbers[:3]))} …, but the first line "
            "is 0 in the masks; write names without numbers in the order of the masks' numbers, "
            f"and `{VOID}` for each number that is no class"
        )


def _read_colours(path: Path, lines: list[str]) -> list[tuple[str, Colour]]:
    """Read names and colours; returns an empty list if no line has a colour."""
    found: list[tuple[str, Colour]] = []
    for line in lines:
        match = _SPACED.fullmatch(line) or _CVAT.fullmatch(line)
        if match and max(colour := tuple(int(match[i]) for i in (2, 3, 4))) < 256:
            found.append((match["name"], (colour[0], colour[1], colour[2])))
    if found and len(found) < len(lines):
        raise DataError(
            f"{path} gives colours to {len(found)} of {len(lines)} classes; give `name R G B` "
            "(0-255) to every one, or to none"
        )
    strange = next((line for line in lines if _LIKE_A_COLOUR.fullmatch(line)), None)
    if not found and strange is not None:
        raise DataError(
            f"{path} has the line {strange!r}; write colours as `name R G B` or `name:R,G,B`, each "
            "number 0-255"
        )
    if all(len(line.split()) > 4 and re.search(r"\s\d+(\s+\d+){2}\s+255$", line) for line in lines):
        raise DataError(
            f"{path} seems to give four numbers, with opacity last, as in {lines[0]!r}; write "
            "`name R G B`"
        )
    if len({colour for _, colour in found}) < len(found):
        raise DataError(f"{path} gives the same colour to two classes; colours must differ")
    return found
