"""PASCAL VOC 2012: 20 kinds of objects and background (Everingham et al. 2015)."""

from __future__ import annotations

from pathlib import Path

from .base import (
    Dataset,
    MissingFilesError,
    Photos,
    check_split,
    files_by_stem,
    pair_by_name,
    read_names,
)
from .label_files import read_archived
from .voc import VOC, find_devkit, list_file


def load_voc2012(root: Path, *, split: str) -> Dataset:
    """Read VOCdevkit/VOC2012: JPEGImages, SegmentationClass, ImageSets/Segmentation/SPLIT.txt.

    Splits are train (1,464 images), val (1,449) and trainval; outlines and difficult objects are
    255. The labels of the split test are not published.

    Raises:
        DataError: If there is no such split.
        FileNotFoundError: If a folder or a file is missing.
    """
    devkit = find_devkit(root, 2012)
    names = read_names(list_file(devkit, "Segmentation", name="voc2012", split=split))
    pairs = pair_by_name(names, devkit / "JPEGImages", devkit / "SegmentationClass")
    return Dataset("voc2012", split, VOC, pairs, read_labels=read_archived)


def list_voc2012_photos(root: Path, *, split: str) -> Photos:
    """List the images of any split, `test` included (test.txt is in VOC2012test.tar).

    Raises:
        DataError: If there is no such split.
        FileNotFoundError: If a folder or a file is missing.
    """
    check_split("voc2012", split, ("test", "val", "train", "trainval"))
    devkit = find_devkit(root, 2012)
    listing = devkit / "ImageSets/Segmentation" / f"{split}.txt"
    if split == "test" and not listing.exists():
        raise FileNotFoundError(f"{listing} does not exist; unpack VOC2012test.tar into {root}")
    names, photos = read_names(listing), files_by_stem(devkit / "JPEGImages")
    missing = [name for name in names if name not in photos]
    if missing:
        raise MissingFilesError(
            f"{len(missing)} image(s) of {listing.name} are not in {devkit / 'JPEGImages'}, first "
            f"{missing[0]}; unpack the split's archive",
            missing,
        )
    return Photos("voc2012", split, VOC, {name: photos[name] for name in names})
