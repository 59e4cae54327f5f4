"""COCO-Stuff 10k, version 1.1: 9,000 images to train and 1,000 to test (Caesar et al. 2018)."""

from __future__ import annotations

from pathlib import Path

from .base import Dataset, check_split, files_by_stem, find_folder, pair_files, read_names
from .coco_stuff import COCO_STUFF
from .label_files import MappedReader, MatReader, shifted_table

# The files say 0 for unlabeled and count classes from 1.
READER = MappedReader(shifted_table(182), MatReader(("S",)))


def load_coco_stuff10k(root: Path, *, split: str) -> Dataset:
    """Read images/*.jpg, annotations/*.mat and imageLists/SPLIT.txt (train, test or all).

    The files' 0 becomes 255, class 1 becomes 0.

    Raises:
        DataError: If there is no such split.
        FileNotFoundError: If a folder or a file is missing.
    """
    check_split("coco_stuff10k", split, ("train", "test", "all"))
    base = find_folder(root, "cocostuff-10k-v1.1", ".")
    names = read_names(base / "imageLists" / f"{split}.txt")
    images, labels = base / "images", base / "annotations"
    labels_of = files_by_stem(labels, frozenset((".mat",)))
    pairs = pair_files(names, files_by_stem(images), labels_of, images=images, labels=labels)
    return Dataset("coco_stuff10k", split, COCO_STUFF, pairs, read_labels=READER)
