"""Data sets, and the augmentation of their samples for training."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from ..errors import DataError, InputError
from ..suggestions import did_you_mean
from .ade20k import load_ade20k
from .base import Dataset, MissingFilesError, Pair, Photos, Sample, UnknownSplitError
from .camvid import load_camvid
from .checks import check_trainable
from .cityscapes import list_cityscapes_photos, load_cityscapes
from .coco_stuff10k import load_coco_stuff10k
from .coco_stuff164k import load_coco_stuff164k
from .folder import load_folder, open_masks
from .gta5 import load_gta5
from .pascal_context import load_pascal_context
from .person_part import load_person_part
from .split_lists import SplitLists, split_folder
from .splits import shared_splits
from .synthia import load_synthia
from .voc2012 import list_voc2012_photos, load_voc2012
from .voc2012_aug import load_voc2012_aug

DATASETS: dict[str, Callable[..., Dataset]] = {
    "voc2012": load_voc2012,
    "voc2012_aug": load_voc2012_aug,
    "pascal_context": load_pascal_context,
    "person_part": load_person_part,
    "cityscapes": load_cityscapes,
    "coco_stuff10k": load_coco_stuff10k,
    "coco_stuff164k": load_coco_stuff164k,
    "ade20k": load_ade20k,
    "camvid": load_camvid,
    "gta5": load_gta5,
    "synthia": load_synthia,
    "folder": load_folder,
}

# Data sets with a server that scores submissions; their test split has no labels.
PHOTO_LISTS: dict[str, Callable[..., Photos]] = {
    "voc2012": list_voc2012_photos,
    "cityscapes": list_cityscapes_photos,
}

# The splits to train on and to evaluate on, if they are not train and val.
_USUAL_SPLITS = {"coco_stuff10k": ("train", "test"), "gta5": ("all",), "synthia": ("all",)}


def usual_splits(name: str) -> tuple[str, ...]:
    """Return the split to train on and, if there is one, the split to evaluate on."""
    return _USUAL_SPLITS.get(name, ("train", "val"))


def load_dataset(name: str, root: str | PathLike[str], *, split: str) -> Dataset:
    """Open one split of a data set on disk.

    Args:
        name: `voc2012`, `cityscapes` … as in `atrous.data.DATASETS` and docs/datasets.md, or
            `folder` for your own images/, labels/ and splits/.
        root: The folder with its unpacked archives.
        split: Name of the split, e.g. `train` or `val`.

    Returns:
        A sequence of `Sample`s with a `label_set`; files are read on access.

    Raises:
        DataError: If the name, or the split of a data set with fixed ones, is unknown; the message
            lists the near ones.
        FileNotFoundError: If the folder, the list of the split, or one of its files is missing.
    """
    check_name(name)
    return DATASETS[name](_check_root(root), split=split)


def _check_root(root: str | PathLike[str]) -> Path:
    path = Path(root).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not a folder; give the one that holds the data set")
    return path


def list_photos(name: str, root: str | PathLike[str], *, split: str) -> Photos:
    """List the images of a split, which may have no labels (the test splits of servers).

    Args:
        name: `voc2012` or `cityscapes`.
        root: The folder with its unpacked archives.
        split: Name of the split, e.g. `test`.

    Raises:
        DataError: If the name is unknown or has no server, or the split is unknown.
        FileNotFoundError: If the folder, the list of the split, or an image is missing.
    """
    check_name(name)
    if name not in PHOTO_LISTS:
        raise DataError(
            f"{name} has no server for submissions; choose from {', '.join(PHOTO_LISTS)}"
        )
    return PHOTO_LISTS[name](_check_root(root), split=split)


def check_name(name: str) -> None:
    """Check that a data set has this name; the error lists similar names, or all."""
    if name not in DATASETS:
        raise InputError(f"no data set is called {name!r}{did_you_mean(name, DATASETS)}")


__all__ = [
    "DATASETS",
    "PHOTO_LISTS",
    "Dataset",
    "MissingFilesError",
    "Pair",
    "Photos",
    "Sample",
    "SplitLists",
    "UnknownSplitError",
    "check_name",
    "check_trainable",
    "list_photos",
    "load_dataset",
    "open_masks",
    "shared_splits",
    "split_folder",
    "usual_splits",
]
