"""`LabelSet`: names and colours of classes, and the index that is ignored."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InputError

IGNORE_INDEX = 255

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSet:
    """The classes of a data set or of a network's output.

    Raises:
        InputError: If the numbers of names and colours differ, or a value is out of range.
    """

    names: tuple[str, ...]
    """One name per class, index 0 first."""
    palette: tuple[Colour, ...]
    """One RGB colour (0-255) per class."""
    ignore_index: int | None = IGNORE_INDEX
    """The label of pixels that are neither trained on nor scored; not a class. None for no such
    label. With 256 or more classes, 255 is a class: give None or a higher number."""

    def __post_init__(self) -> None:
        if not self.names:
            raise InputError("a label set needs at least one class name")
        if len(self.names) != len(self.palette):
            raise InputError(
                f"{len(self.names)} class names but {len(self.palette)} colours; give one colour "
                "per name"
            )
        if not all(len(c) == 3 and all(v in range(256) for v in c) for c in self.palette):
            raise InputError("a palette colour must be three whole numbers from 0 to 255")
        if self.ignore_index is not None and self.ignore_index not in range(len(self.names), 65536):
            raise InputError(
                f"ignore_index is {self.ignore_index}, but classes are 0-{len(self.names) - 1} and "
                "the largest label is 65535; give a number between them, or None"
            )

    @property
    def num_classes(self) -> int:
        """Number of classes, without the ignored index."""
        return len(self.names)


def voc_palette(num_colours: int) -> tuple[Colour, ...]:
    """Return PASCAL VOC's colours, which spread the bits of the index over red, green and blue."""
    colours = []
    for index in range(num_colours):
        red = green = blue = 0
        rest = index
        for shift in range(7, -1, -1):
            red |= (rest & 1) << shift
            green |= (rest >> 1 & 1) << shift
            blue |= (rest >> 2 & 1) << shift
            rest >>= 3
        colours.append((red, green, blue))
    return tuple(colours)
