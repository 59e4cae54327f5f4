"""Which splits hold the same images: scores on what has been trained on mean nothing."""

from __future__ import annotations

from collections.abc import Iterable

# Splits that are unions of others, or another data set's under a second name.
PARTS = {
    "voc2012/trainval": ("voc2012/train", "voc2012/val"),
    "voc2012_aug/train": ("voc2012/train", "sbd"),
    "voc2012_aug/val": ("voc2012/val",),
    "pascal_context/trainval": ("pascal_context/train", "pascal_context/val"),
    "person_part/trainval": ("person_part/train", "person_part/val"),
    "gta5/all": ("gta5/train", "gta5/val", "gta5/test"),
    "coco_stuff10k/all": ("coco_stuff10k/train", "coco_stuff10k/test"),
    # The images of the 10k set come from COCO's train2014, all of which is in train2017.
    "coco_stuff164k/train": (
        "coco_stuff164k/train", "coco_stuff10k/train", "coco_stuff10k/test",
    ),
}  # fmt: skip


def shared_splits(trained_on: Iterable[str], split: str) -> list[str]:
    """Name the training splits that hold images of another split.

    Args:
        trained_on: Data sets and splits, as "voc2012/trainval".
        split: The one that is to be scored, e.g. "voc2012/val".

    Returns:
        Those of `trained_on` that share images with it, as far as the data sets' definitions say.
    """
    parts = set(PARTS.get(split, (split,)))
    return [name for name in trained_on if parts & set(PARTS.get(name, (name,)))]
