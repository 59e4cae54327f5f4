"""Find training splits that share images with the split to evaluate on."""

from __future__ import annotations

from collections.abc import Iterable

# Splits that hold images of another data set, which their names do not tell.
PARTS = {
    "voc2012_aug/train": ("voc2012/train", "sbd"),
    "voc2012_aug/val": ("voc2012/val",),
    # The images of the 10k set come from COCO's train2014, all of which is in train2017.
    "coco_stuff164k/train": ("coco_stuff164k/train", "coco_stuff10k/all"),
}


def shared_splits(trained_on: Iterable[str], split: str) -> list[str]:
    """Return the training splits that share images with another split.

    X/trainval holds X/train and X/val, and X/all holds every split of X.

    Args:
        trained_on: Data sets and splits, such as "voc2012/trainval".
        split: The split to evaluate on, e.g. "voc2012/val".

    Returns:
        Those of `trained_on` that share images with `split`, judged by names and by the
        definitions of the data sets; no image is compared.
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
    """Whether two splits that are not in `PARTS` share images."""
    (dataset, _, split), (other_dataset, _, other_split) = one.partition("/"), other.partition("/")
    return dataset == other_dataset and (split == other_split or "all" in (split, other_split))
