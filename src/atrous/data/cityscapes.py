"""Cityscapes: streets in 50 cities at 1024x2048, 19 classes (Cordts et al. 2016)."""

from __future__ import annotations

from pathlib import Path

from .base import Dataset, Photos, check_split, find_folder, pair_files
from .label_files import MappedReader
from .street import CITYSCAPES, label_id_table

IMAGE_END, LABEL_END = "_leftImg8bit.png", "_gtFine_labelIds.png"
READER = MappedReader(label_id_table(34))


def load_cityscapes(root: Path, *, split: str) -> Dataset:
    """Read leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtFine/SPLIT/CITY/*_gtFine_labelIds.png.

    labelIds become the 19 trainIds, and 255 if they have none. Splits are train (2,975 images),
    val (500) and test (published without labels).

    Raises:
        DataError: If there is no such split.
        FileNotFoundError: If a folder or a file is missing.
    """
    photos = list_cityscapes_photos(root, split=split)
    images = find_folder(root, f"leftImg8bit/{split}")
    labels = find_folder(root, f"gtFine/{split}")
    labels_of = {_name(path, LABEL_END): path for path in labels.glob(f"*/*{LABEL_END}")}
    pairs = pair_files(list(photos.paths), photos.paths, labels_of, images=images, labels=labels)
    return Dataset("cityscapes", split, CITYSCAPES, pairs, read_labels=READER)


def list_cityscapes_photos(root: Path, *, split: str) -> Photos:
    """List leftImg8bit/SPLIT/CITY/*_leftImg8bit.png.

    Raises:
        DataError: If there is no such split.
        FileNotFoundError: If the folder is missing or holds no image.
    """
    check_split("cityscapes", split, ("train", "val", "test"))
    images = find_folder(root, f"leftImg8bit/{split}")
    paths = {_name(path, IMAGE_END): path for path in sorted(images.glob(f"*/*{IMAGE_END}"))}
    if not paths:
        raise FileNotFoundError(f"{images} holds no CITY/*{IMAGE_END}; unpack leftImg8bit there")
    return Photos("cityscapes", split, CITYSCAPES, paths)


def _name(path: Path, end: str) -> str:
    return path.name.removesuffix(end)
