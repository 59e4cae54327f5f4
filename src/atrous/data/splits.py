"""Which splits hold the same images: scores on what has been trained on mean nothing."""

from __future__ import annotations

from collections.abc import Iterable

# What names alone do not say: splits that hold another data set's images.
PARTS = {
    "voc2012_aug/train": ("voc2012/train", "sbd"),
    "voc2012_aug/val": ("voc2012/val",),
    # The images of the 10k set come from COCO's train2014, all of which is in train2017.
    "coco_stuff164k/train": ("coco_stuff164k/train", "coco_stuff10k/all"),
}


def shared_splits(trained_on: Iterable[str], split: str) -> list[str]:
    """Name the training splits that hold images of another split.

    By their names, X/trainval holds X/train and X/val, and X/all every split of X.

    Args:
        trained_on: Data sets and splits, as "voc2012/trainval".
        split: The one that is to be scored, e.g. "voc2012/val".

    Returns:
        Those of `trained_on` that share images with it, as far as the names and the data sets'
        definitions say.
    """
    return [
        name
        for name in trained_on
        if any(_overlap(one, other) for one in _parts(name) for other in _parts(split))
    ]


def _parts(name: str) -> tuple[str, ...]:
    dataset, _, split = name.partition("/")
    if split == "trainval":
        return _parts(f"{dataset}/train") + _parts(f"{dataset}/val")
    return PARTS.get(name, (name,))


def _overlap(one: str, other: str) -> bool:
    """Say whether two parts, neither of them a union by `PARTS`, share images."""
    (dataset, _, split), (other_dataset, _, other_split) = one.partition("/"), other.partition("/")
    return dataset == other_dataset and (split == other_split or "all" in (split, other_split))
