"""The folders and the 21 classes of PASCAL VOC, which several data sets share."""

from __future__ import annotations

from pathlib import Path

from ..labels import LabelSet, voc_palette
from .base import check_split

VOC = LabelSet(
    names=(
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat",
        "chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
        "sheep", "sofa", "train", "tvmonitor",
    ),
    palette=voc_palette(21),
)  # fmt: skip


def find_devkit(root: Path, year: int) -> Path:
    """Return ROOT/VOCdevkit/VOC<year>, ROOT/VOC<year> or ROOT, whichever holds JPEGImages.

    Raises:
        FileNotFoundError: If none of them does.
    """
    for folder in (root / "VOCdevkit" / f"VOC{year}", root / f"VOC{year}", root):
        if (folder / "JPEGImages").is_dir():
            return folder
    raise FileNotFoundError(
        f"{root} holds no VOCdevkit/VOC{year}/JPEGImages; give the folder that VOC {year}'s "
        "trainval archive was unpacked into"
    )


def list_file(devkit: Path, task: str, *, name: str, split: str) -> Path:
    """Return ImageSets/TASK/SPLIT.txt for one of the splits train, val and trainval."""
    check_split(name, split, ("train", "val", "trainval"))
    return devkit / "ImageSets" / task / f"{split}.txt"
