"""PASCAL VOC 2012: 20 kinds of objects and the background (Everingham et al. 2015)."""

from __future__ import annotations

from pathlib import Path

from .base import Dataset, pair_by_name, read_names
from .voc import VOC, find_devkit, list_file


def load_voc2012(root: Path, *, split: str) -> Dataset:
    """Read VOCdevkit/VOC2012: JPEGImages, SegmentationClass, ImageSets/Segmentation/SPLIT.txt.

    Splits are train (1,464 images), val (1,449) and trainval; 255 marks outlines and what is hard
    to tell. The labels of test are with the organisers' server.

    Raises:
        ValueError: If there is no such split.
        FileNotFoundError: If a folder or a file is missing.
    """
    devkit = find_devkit(root, 2012)
    names = read_names(list_file(devkit, "Segmentation", name="voc2012", split=split))
    pairs = pair_by_name(names, devkit / "JPEGImages", devkit / "SegmentationClass")
    return Dataset("voc2012", split, VOC, pairs)
