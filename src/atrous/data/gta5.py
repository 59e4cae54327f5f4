"""GTA5: rendered streets with the classes of Cityscapes (Richter et al. 2016)."""

from __future__ import annotations

from pathlib import Path

from .base import Dataset, check_split, files_by_stem, pair_files, read_names
from .label_files import MappedReader
from .mat import read_mat
from .street import CITYSCAPES, label_id_table

# The labelIds of Cityscapes, and 34 for licence plates.
READER = MappedReader(label_id_table(35))
OFFICIAL = {"train": "trainIds", "val": "valIds", "test": "testIds"}


def load_gta5(root: Path, *, split: str) -> Dataset:
    """Read images/*.png and labels/*.png, as the ten archives unpack into one folder.

    The split `all` is every image (24,966), as domain adaptation uses it. train, val and test are
    read from split.mat, which has an archive of its own. If splits/SPLIT.txt exists, it is used.

    Raises:
        DataError: If there is no such split.
        FileNotFoundError: If a folder or a file is missing.
    """
    listing = root / "splits" / f"{split}.txt"
    if not listing.exists():
        check_split("gta5", split, ("all", *OFFICIAL))
    images, labels = root / "images", root / "labels"
    image_of, labels_of = files_by_stem(images), files_by_stem(labels)
    if listing.exists():
        names = read_names(listing)
    elif split == "all":
        names = list(image_of)
    else:
        names = _official(root / "split.mat", split)
    pairs = pair_files(names, image_of, labels_of, images=images, labels=labels)
    return Dataset("gta5", split, CITYSCAPES, pairs, read_labels=READER)


def _official(path: Path, split: str) -> list[str]:
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; unpack it from the authors' archive of mappings, write "
            f"splits/{split}.txt, or take the split all"
        )
    return [f"{int(number):05d}" for number in read_mat(path, OFFICIAL[split]).ravel()]
