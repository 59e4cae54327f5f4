"""Checks of a data set before training."""

from __future__ import annotations

from ..errors import DataError
from .base import Dataset
from .label_files import find_values


def check_trainable(dataset: Dataset) -> None:
    """Refuse labels that show fewer than two classes: a network learns nothing from them.

    Reads label files until two classes are found, which is usually the first file.

    Raises:
        DataError: If all labels show one class, or none.
    """
    seen = set[int]()
    for pair in dataset.pairs:
        labels = find_values(dataset.read_labels(pair.labels))
        seen |= {label for label in labels if label != dataset.label_set.ignore_index}
        if len(seen) > 1:
            return
    names = dataset.label_set.names
    shown = ", ".join(names[index] if index < len(names) else str(index) for index in seen)
    raise DataError(
        f"the labels of all {len(dataset)} images of {dataset.name}/{dataset.split} show "
        + (f"a single class, {shown}" if shown else "no class, only unknown pixels")
        + "; training needs two or more. Check which number or colour stands for which class; "
        "`atrous doctor` shows the labels over the images"
    )
