"""PASCAL-Person-Part: six body parts and background (Chen et al. 2014, 2016)."""

from __future__ import annotations

from pathlib import Path

from ..labels import LabelSet, voc_palette
from .base import Dataset, check_split, find_folder, pair_by_name, read_names
from .label_files import read_archived
from .voc import find_devkit

PERSON_PART = LabelSet(
    names=(
        "background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs",
    ),
    palette=voc_palette(7),
)  # fmt: skip


def load_person_part(root: Path, *, split: str) -> Dataset:
    """Read the images of VOC 2010 with the labels that DeepLab v2 was trained and evaluated on.

    ROOT holds VOCdevkit/VOC2010/JPEGImages and pascal_person_part/, which holds
    pascal_person_part_gt/*.png and pascal_person_part_trainval_list/ (SPLIT_id.txt, or SPLIT.txt
    with paths). Splits are train (1,716 images), val (1,817) and trainval.

    Raises:
        DataError: If there is no such split.
        FileNotFoundError: If a folder or a file is missing.
    """
    check_split("person_part", split, ("train", "val", "trainval"))
    devkit = find_devkit(root, 2010)
    base = find_folder(root, "pascal_person_part", "../pascal_person_part", ".")
    lists = find_folder(base, "pascal_person_part_trainval_list")
    listing = lists / f"{split}_id.txt"
    names = read_names(listing if listing.exists() else lists / f"{split}.txt")
    labels = find_folder(base, "pascal_person_part_gt")
    pairs = pair_by_name(names, devkit / "JPEGImages", labels)
    return Dataset("person_part", split, PERSON_PART, pairs, read_labels=read_archived)
