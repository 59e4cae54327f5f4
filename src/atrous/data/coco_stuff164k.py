"""COCO-Stuff 164k: all of COCO 2017 (Caesar et al. 2018)."""

from __future__ import annotations

from pathlib import Path

from .base import Dataset, check_split, files_by_stem, find_folder, pair_files
from .coco_stuff import COCO_STUFF
from .label_files import read_archived

FOLDERS = {"train": "train2017", "val": "val2017"}


def load_coco_stuff164k(root: Path, *, split: str) -> Dataset:
    """Read images/train2017/*.jpg and annotations/train2017/*.png, and val2017 likewise.

    The archives unpack as train2017/ and val2017/: COCO's photos into images/, those of
    stuffthingmaps_trainval2017.zip into annotations/ or stuffthingmaps/. Splits are train (118,287
    images) and val (5,000). The files hold 0-181, and 255 for unlabeled.

    Raises:
        DataError: If there is no such split.
        FileNotFoundError: If a folder or a file is missing.
    """
    check_split("coco_stuff164k", split, FOLDERS)
    images = find_folder(root, f"images/{FOLDERS[split]}")
    labels = find_folder(root, f"annotations/{FOLDERS[split]}", f"stuffthingmaps/{FOLDERS[split]}")
    image_of, labels_of = files_by_stem(images), files_by_stem(labels, frozenset((".png",)))
    pairs = pair_files(list(image_of), image_of, labels_of, images=images, labels=labels)
    return Dataset("coco_stuff164k", split, COCO_STUFF, pairs, read_labels=read_archived)
