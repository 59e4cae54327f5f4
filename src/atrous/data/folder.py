"""The user's own images and masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..image_io import SAVE_INDICES
from ..labels import IGNORE_INDEX, LabelSet, voc_palette
from .base import Dataset, Pair
from .class_list import OWN_LIST, ClassList, find_class_list, read_class_list
from .folder_layout import Layout, find_layout, has_split, pair_layout
from .label_files import (
    ColourReader,
    IndexReader,
    LabelReader,
    ListReader,
    NumberReader,
    are_black_and_white,
)

RGB_REMEDY = f"give every class its colour in {OWN_LIST}, a line `name R G B`, or {SAVE_INDICES}"
BLACK_AND_WHITE = "`background 0 0 0` and `foreground 255 255 255`"
BACKGROUNDS = ("background", "bg")
read_indices = IndexReader(RGB_REMEDY)


def load_folder(root: Path, *, split: str) -> Dataset:
    """Read ROOT/images, ROOT/labels and ROOT/splits/SPLIT.txt, or another layout.

    `find_layout` lists the layouts, `read_class_list` what ROOT/classes.txt may hold. Labels are
    PNG files of class indices, 255 is unknown; or masks in the colours that classes.txt gives.
    Without classes.txt, classes are numbered up to the highest label in the split `train` (or in
    this split, if `train` does not exist).

    Raises:
        FileNotFoundError: If a folder or a file is missing.
        DataError: If a split or the list of classes is empty, a colour is wrong, masks can be read
            in two ways, or there is no list and a label file cannot be read.
    """
    layout = find_layout(root, split)
    pairs = pair_layout(layout)
    label_set, read = open_classes(root, layout, pairs, _counted_pairs(root, split, pairs))
    return Dataset("folder", split, label_set, pairs, read_labels=read)


def open_classes(
    root: Path, layout: Layout, pairs: Sequence[Pair], counted: Sequence[Pair]
) -> tuple[LabelSet, LabelReader]:
    """Return the classes, and the reader of the masks.

    Args:
        root: Folder of the data set.
        layout: Where its files are.
        pairs: The pairs that are read.
        counted: The pairs in which classes are counted if there is no list.

    Raises:
        DataError: As for `load_folder`.
    """
    path = find_class_list(root)
    masks = [pair.labels for pair in pairs]
    if path is None:
        names = _numbered_classes(counted)
        if _are_all_black_and_white(masks, layout, root / OWN_LIST):
            raise _refuse_black_and_white(layout, root / OWN_LIST)
        return LabelSet(names, voc_palette(len(names))), read_indices
    classes = read_class_list(path)
    return classes.label_set, choose_reader(classes, masks, layout)


def open_masks(folder: Path, *, unknown: int = IGNORE_INDEX) -> LabelReader:
    """Return the reader for a folder of masks without images; numbers stay what they are.

    A list of classes in the folder or beside it decides how the masks are read, as for a data set.
    Pixels of its line `void` become 255, the others the number of their line, the first 0.

    Args:
        folder: The masks.
        unknown: The number of unknown pixels; if it is not 255, masks are read as numbers.

    Raises:
        DataError: If the list is wrong, or all masks are black and white and no list says what
            that means.
    """
    if unknown != IGNORE_INDEX:
        return read_indices
    layout = Layout(folder, folder, None)
    masks = layout.label_files()
    path = find_class_list(folder) or find_class_list(folder.parent)
    if path is None:
        if are_black_and_white(masks):
            raise _refuse_black_and_white(layout, folder.parent / OWN_LIST)
        return read_indices
    classes = read_class_list(path)
    if classes.moves_numbers and classes.colours and classes.masks == "auto":
        raise DataError(
            f"{path} has the line `void` before a class; add the line `masks: indices` or `masks: "
            "colours`, whichever the masks hold, or move `void` to the end"
        )
    return choose_reader(classes.with_line_numbers(), masks, layout)


def choose_reader(classes: ClassList, masks: Sequence[Path], layout: Layout) -> LabelReader:
    """Return the reader for the masks of a split, with a list of classes.

    Raises:
        DataError: If the masks are black and white, and the list does not say what that means or
            those of other splits are not.
    """
    if classes.masks == "colours":
        return ColourReader(classes.colours)
    by_number = NumberReader(classes.numbers, classes.path, RGB_REMEDY)
    if classes.masks == "indices":
        return by_number
    if classes.is_grey:
        hint = "if the masks hold numbers, add the line `masks: indices`; else list the colours"
        return ColourReader(classes.colours, f"{hint} in {classes.path.name}")
    if _are_all_black_and_white(masks, layout, classes.path):
        names = classes.label_set.names
        if classes.colours or len(names) != 2 or len(classes.numbers) != 2:
            raise _refuse_black_and_white(layout, classes.path)
        if names[1].lower() in BACKGROUNDS:
            raise DataError(
                f"every mask in {layout.labels} is black and white, and {classes.path.name} names "
                f"black {names[0]!r} and white {names[1]!r}; give their colours, such as "
                f"`{names[0]} 255 255 255` and `{names[1]} 0 0 0`"
            )
        return NumberReader({0: 0, 255: 1}, classes.path, RGB_REMEDY)
    if classes.colours:
        return ListReader(
            classes.numbers, classes.colours, classes.path, moves_numbers=classes.moves_numbers
        )
    is_plain = all(number == index for number, index in classes.numbers.items())
    return read_indices if is_plain else by_number


def _are_all_black_and_white(masks: Sequence[Path], layout: Layout, classes: Path) -> bool:
    """Find out whether masks are black and white; refuse if those of other splits are not."""
    if not are_black_and_white(masks):
        return False
    if not are_black_and_white(layout.label_files()):
        raise DataError(
            f"the masks of this split in {layout.labels} hold only 0 and 255, but those of other "
            f"splits also hold other numbers; save all masks in the same way, or add the line "
            f"`masks: indices` to {classes} if 255 is unknown"
        )
    return True


def _refuse_black_and_white(layout: Layout, classes: Path) -> DataError:
    return DataError(
        f"every mask in {layout.labels} holds only 0 and 255, and 255 is unknown, so that no class "
        f"but the first would be left; if the masks are black and white, write the lines "
        f"{BLACK_AND_WHITE} in {classes}"
        + ("; if 255 is unknown, add the line `masks: indices`" if classes.exists() else "")
    )


def _counted_pairs(root: Path, split: str, pairs: Sequence[Pair]) -> Sequence[Pair]:
    """Return the pairs of train, or of this split if there is no train."""
    if split == "train" or find_class_list(root) is not None or not has_split(root, "train"):
        return pairs
    return pair_layout(find_layout(root, "train"))


def _numbered_classes(pairs: Sequence[Pair]) -> tuple[str, ...]:
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
