"""What a run is made of, from its recipe."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data import Dataset, check_trainable, load_dataset, shared_splits
from ..errors import InputError
from .recipe import Recipe


def open_data(recipe: Recipe) -> tuple[Dataset, Dataset]:
    """Open the splits that train and that are scored.

    They share an image only where the one is known to hold the other, as trainval holds val: such
    weights are for a test server, and their scores come with a warning.

    Raises:
        InputError: If a folder is not given, an image is in both splits otherwise, the two data
            sets have different classes, or the labels to train on show fewer than two.
    """
    data = recipe.data
    if data.root is None:
        raise InputError("the recipe has no data.root; give the data set's folder with --data")
    val_name = data.val_dataset or data.dataset
    if val_name != data.dataset and data.val_root is None:
        raise InputError(
            f"the recipe scores on {val_name}, another data set than it trains on; give its folder "
            "with --val-data"
        )
    train_set = load_dataset(data.dataset, data.root, split=data.train_split)
    val_set = load_dataset(val_name, data.val_root or data.root, split=data.val_split)
    _check_same_classes(train_set, val_set)
    shared = {pair.name for pair in train_set.pairs} & {pair.name for pair in val_set.pairs}
    if data.val_root is not None:  # numbers agree by chance between two folders
        shared = {name for name in shared if not name.isdecimal()}
    trained, scored = (f"{s.name}/{s.split}" for s in (train_set, val_set))
    is_known = trained != scored and bool(shared_splits([trained], scored))
    if shared and not is_known:
        raise InputError(
            f"{len(shared)} image(s) are in both {data.train_split} and {data.val_split}, such as "
            f"{min(shared)}; scores on them would mean nothing"
        )
    check_trainable(train_set)
    return train_set, val_set


def _check_same_classes(train_set: Dataset, val_set: Dataset) -> None:
    trained, scored = train_set.label_set.names, val_set.label_set.names
    if trained == scored:
        return
    if len(trained) != len(scored):
        difference = f"has {len(scored)} classes, not {len(trained)}"
    else:
        index = next(i for i in range(len(trained)) if trained[i] != scored[i])
        difference = f"calls class {index} {scored[index]!r}, not {trained[index]!r}"
    raise InputError(
        f"{val_set.name} {difference} as {train_set.name} does; score on a data set with the same "
        "classes in the same order (a folder's stand in its classes.txt)"
    )


def count_class_weights(dataset: Dataset, power: float) -> Tensor | None:
    """Weigh classes by their share of the known pixels to the -`power`: (K,), mean pixel 1."""
    if power == 0:
        return None
    classes = dataset.label_set.num_classes
    counts = np.zeros(classes)
    for sample in dataset:
        counts += np.bincount(sample.labels.ravel(), minlength=256)[:classes]
    share = np.maximum(counts, 1) / counts.sum()
    weights = share**-power
    return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)
