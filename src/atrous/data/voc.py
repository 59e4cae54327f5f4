"""What the PASCAL VOC family shares: the development kit's folders and the 21 classes."""

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
    """Find VOCdevkit/VOC<year>: in `root`, in its VOCdevkit, or `root` itself.

    Raises:
        FileNotFoundError: If it is in none of these places.
    """
    for folder in (root / "VOCdevkit" / f"VOC{year}", root / f"VOC{year}", root):
        if (folder / "JPEGImages").is_dir():
            return folder
    raise FileNotFoundError(
        f"{root} holds no VOCdevkit/VOC{year}/JPEGImages; give the folder that VOC {year}'s "
        "trainval archive was unpacked into"
    )


def list_file(devkit: Path, task: str, *, name: str, split: str) -> Path:
    """Find ImageSets/TASK/SPLIT.txt; the split is one of train, val and trainval."""
    check_split(name, split, ("train", "val", "trainval"))
    return devkit / "ImageSets" / task / f"{split}.txt"
