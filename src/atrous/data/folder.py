"""The user's own images and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from ..image_io import SAVE_INDICES
from ..labels import IGNORE_INDEX, Colour, LabelSet, voc_palette
from .base import Dataset, pair_by_name, read_lines, read_split
from .label_files import ColourReader, IndexReader

VOID = "void"
read_indices = IndexReader(
    f"give every class its colour in classes.txt, a line `name R G B`, or {SAVE_INDICES}"
)


def load_folder(root: Path, *, split: str) -> Dataset:
    """Read ROOT/images, ROOT/labels and ROOT/splits/SPLIT.txt.

    Labels are PNG files of class indices; 255 is unknown. ROOT/classes.txt holds the class names,
    one per line, class 0 first. Without this file, classes are numbered up to the highest label in
    the split `train` (or in this split, if `train` does not exist).

    If every line of classes.txt ends in a colour (`road 128 64 128`), labels may be RGB files with
    these colours. The line `void 0 0 0` gives the colour of unknown pixels; it is not a class.

    Raises:
        FileNotFoundError: If a folder or a file is missing.
        DataError: If a split or the list of classes is empty, a colour is wrong, or there is no
            list and a label file cannot be read.
    """
    pairs = pair_by_name(read_split(root, split), root / "images", root / "labels")
    classes = root / "classes.txt"
    if not classes.exists():
        names = _numbered_classes(root, split)
        label_set = LabelSet(names, voc_palette(len(names)))
        return Dataset("folder", split, label_set, pairs, read_labels=read_indices)
    lines = [line.strip() for line in read_lines(classes)]
    lines = [line for line in lines if line]
    if not lines:
        raise DataError(f"{classes} is empty; write one class name per line, class 0 first")
    colours = _read_colours(classes, lines)
    if not colours:
        label_set = LabelSet(tuple(lines), voc_palette(len(lines)))
        return Dataset("folder", split, label_set, pairs, read_labels=read_indices)
    classes = [(name, colour) for name, colour in colours if name != VOID]
    label_set = LabelSet(tuple(name for name, _ in classes), tuple(colour for _, colour in classes))
    indices = {colour: index for index, (_, colour) in enumerate(classes)}
    indices |= {colour: IGNORE_INDEX for name, colour in colours if name == VOID}
    return Dataset("folder", split, label_set, pairs, read_labels=ColourReader(indices))


def _read_colours(path: Path, lines: list[str]) -> list[tuple[str, Colour]]:
    """Read lines `name R G B`; returns an empty list if no line has a colour."""
    found: list[tuple[str, Colour]] = []
    for line in lines:
        words = line.split()
        numbers = [int(word) for word in words[-3:] if word.isdecimal()]
        if len(words) > 3 and len(numbers) == 3 and max(numbers) < 256:
            found.append((" ".join(words[:-3]), (numbers[0], numbers[1], numbers[2])))
    if found and len(found) < len(lines):
        raise DataError(
            f"{path} gives colours to {len(found)} of {len(lines)} classes; give `name R G B` "
            "(0-255) to every one, or to none"
        )
    if len({colour for _, colour in found}) < len(found):
        raise DataError(f"{path} gives the same colour to two classes; colours must differ")
    return found


def _numbered_classes(root: Path, split: str) -> tuple[str, ...]:
    source = "train" if (root / "splits" / "train.txt").is_file() else split
    pairs = pair_by_name(read_split(root, source), root / "images", root / "labels")
    highest, faults = 0, list[str]()
    for pair in pairs:
        try:
            labels = read_indices(pair.labels)
        except ValueError as error:
            faults.append(str(error))
        else:
            highest = max(highest, int(np.max(labels, where=labels != IGNORE_INDEX, initial=0)))
    if faults:
        raise DataError(
            f"{len(faults)} of {len(pairs)} label files cannot be read to count the classes; the "
            f"first: {faults[0]}"
        )
    return tuple(str(index) for index in range(highest + 1))
