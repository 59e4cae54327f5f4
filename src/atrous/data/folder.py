"""Anybody's own images and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..image_io import read_labels
from ..labels import LabelSet, voc_palette
from .base import Dataset, pair_by_name, read_split


def load_folder(root: Path, *, split: str) -> Dataset:
    """Read ROOT/images, ROOT/labels (index PNG) and ROOT/splits/SPLIT.txt.

    Class names come from ROOT/classes.txt, one a line, line 0 first. Without it, the classes are as
    many as the labels of the split `train` (or of this split, where there is no such split) show,
    named by their number. 255 is unknown.

    Raises:
        FileNotFoundError: If a folder or a file is missing.
        ValueError: If a split or the list of classes is empty.
    """
    pairs = pair_by_name(read_split(root, split), root / "images", root / "labels")
    classes = root / "classes.txt"
    if classes.is_file():
        names = [line.strip() for line in classes.read_text(encoding="utf-8").splitlines()]
        names = [name for name in names if name]
        if not names:
            raise ValueError(f"{classes} is empty; write one class name a line, class 0 first")
    else:
        names = _numbered_classes(root, split)
    label_set = LabelSet(tuple(names), voc_palette(len(names)))
    return Dataset("folder", split, label_set, pairs)


def _numbered_classes(root: Path, split: str) -> list[str]:
    source = "train" if (root / "splits" / "train.txt").is_file() else split
    pairs = pair_by_name(read_split(root, source), root / "images", root / "labels")
    highest = 0
    for pair in pairs:
        labels = read_labels(pair.labels)
        highest = max(highest, int(np.max(labels, where=labels != 255, initial=0)))
    return [str(index) for index in range(highest + 1)]
