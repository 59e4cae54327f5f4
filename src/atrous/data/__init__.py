"""Data sets and their augmentation."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from .base import Dataset, Sample
from .camvid import load_camvid
from .folder import load_folder

DATASETS: dict[str, Callable[..., Dataset]] = {"camvid": load_camvid, "folder": load_folder}


def load_dataset(name: str, root: str | PathLike[str], *, split: str) -> Dataset:
    """Open a data set on disk.

    Args:
        name: `camvid`, or `folder` for your own images/, labels/ and splits/.
        root: The folder that holds it.
        split: Which images, e.g. `train` or `val`.

    Returns:
        A sequence of `Sample`s with a `label_set`.

    Raises:
        ValueError: If the name is unknown.
        FileNotFoundError: If the folder, the split or a file of it is missing.
    """
    loader = DATASETS.get(name)
    if loader is None:
        near = difflib.get_close_matches(name, DATASETS, n=2, cutoff=0.4) or sorted(DATASETS)
        raise ValueError(f"no data set is called {name!r}; there is {' and '.join(near)}")
    path = Path(root).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not a folder; give the one that holds the data set")
    return loader(path, split=split)


__all__ = ["DATASETS", "Dataset", "Sample", "load_dataset"]
