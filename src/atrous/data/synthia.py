"""SYNTHIA-RAND-CITYSCAPES: rendered streets with 16 of Cityscapes' classes (Ros et al. 2016)."""

from __future__ import annotations

from pathlib import Path

from .base import Dataset, check_split, files_by_stem, find_folder, pair_files, read_names
from .label_files import MappedReader, index_table, read_red_16bit
from .street import CITYSCAPES

# Number in SYNTHIA's files -> index of the class in Cityscapes. Void, parking slots, road works and
# lane markings are not evaluated.
CLASSES = {
    3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11, 17: 12, 8: 13,
    18: 14, 19: 15, 20: 16, 12: 17, 11: 18,
}  # fmt: skip
READER = MappedReader(index_table(23, CLASSES), read_red_16bit)

SYNTHIA_16 = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18)
"""The classes that occur: all but terrain, truck and train. mIoU in papers is their mean."""
SYNTHIA_13 = (0, 1, 2, 6, 7, 8, 10, 11, 12, 13, 15, 17, 18)
"""The same without wall, fence and pole: mIoU* in papers."""


def load_synthia(root: Path, *, split: str) -> Dataset:
    """Read RAND_CITYSCAPES: RGB/*.png and GT/LABELS/*.png (16 bits per channel, class in red).

    The split `all` is every image (9,400); you define other splits in splits/SPLIT.txt. Labels are
    the 19 classes of Cityscapes, of which the `SYNTHIA_16` occur.

    Raises:
        DataError: If there is no such split.
        FileNotFoundError: If a folder or a file is missing.
    """
    base = find_folder(root, "RAND_CITYSCAPES", ".")
    lists = {path.stem: path for path in sorted((base / "splits").glob("*.txt"))}
    check_split("synthia", split, ("all", *lists))
    images, labels = base / "RGB", base / "GT" / "LABELS"
    image_of, labels_of = files_by_stem(images), files_by_stem(labels)
    names = read_names(lists[split]) if split in lists else list(image_of)
    pairs = pair_files(names, image_of, labels_of, images=images, labels=labels)
    return Dataset("synthia", split, CITYSCAPES, pairs, read_labels=READER)
