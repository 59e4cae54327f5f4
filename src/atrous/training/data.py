"""Open a recipe's data sets and compute class weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data import Dataset, check_trainable, load_dataset, shared_splits
from ..errors import InputError
from .recipe import Recipe


def open_data(recipe: Recipe) -> tuple[Dataset, Dataset]:
    """Open the split to train on and the split to evaluate on.

    Splits may share images only if one is known to contain the other, as trainval contains val.
    Such weights are meant for a test server, and the run warns about their scores.

    Returns:
        Training set, evaluation set.

    Raises:
        InputError: If a folder is not given, the splits share an image otherwise, the two data
            sets have different classes, or the labels to train on show fewer than two.
    """
    data = recipe.data
    if data.root is None:
        raise InputError("the recipe has no data.root; give the data set's folder with --data")
    val_name = data.val_dataset or data.dataset
    if val_name != data.dataset and data.val_root is None:
        raise InputError(
            f"the recipe evaluates on {val_name}, another data set than it trains on; give its "
            "folder with --val-data"
        )
    train_set = load_dataset(data.dataset, data.root, split=data.train_split)
    val_set = load_dataset(val_name, data.val_root or data.root, split=data.val_split)
    _check_same_classes(train_set, val_set)
    shared = {pair.name for pair in train_set.pairs} & {pair.name for pair in val_set.pairs}
    if data.val_root is not None:  # numbered images of two folders have equal names by chance
        shared = {name for name in shared if not name.isdecimal()}
    trained, scored = (f"{s.name}/{s.split}" for s in (train_set, val_set))
    is_known = trained != scored and bool(shared_splits([trained], scored))
    if shared and not is_known:
        raise InputError(
            f"{len(shared)} image(s) are in both {data.train_split} and {data.val_split}, such as "
            f"{min(shared)}; scores on images of the training set measure memorisation"
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
        f"{val_set.name} {difference} as {train_set.name} does; evaluate on a data set with the "
        "same classes in the same order (classes.txt lists those of a folder)"
    )


def count_class_weights(dataset: Dataset, power: float) -> Tensor | None:
    """Weight classes by their share of the known pixels to the power of -`power`.

    Returns:
        (K,) float32, scaled so that the mean over the known pixels is 1; None if `power` is 0.
    """
    if power == 0:
        return None
    classes = dataset.label_set.num_classes
    counts = np.zeros(classes)
    for sample in dataset:
        counts += np.bincount(sample.labels.ravel(), minlength=256)[:classes]
    share = np.maximum(counts, 1) / counts.sum()
    weights = share**-power
    return torch.tensor(weights / (weights * share).sum(), dtype=torch.float32)
