"""Divide a user's own data set into train, val and test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..atomic_file import write_text
from ..errors import DataError, InputError
from ..image_io import read_image
from ..labels import LabelSet
from .base import Pair, files_by_stem, pair_files
from .duplicates import Fingerprint, find_duplicates, fingerprint
from .folder import open_classes
from .folder_layout import find_all, match_masks, name_contents
from .label_files import find_values

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SplitLists:
    """What `split_folder` wrote.

    Attributes:
        files: Split -> its list.
        names: Split -> names of its images, in alphabetical order.
        num_grouped: Images that have near-duplicates; these are in the same split.
        unlabelled: Names of images without a mask, which are in no split.
    """

    files: Mapping[str, Path]
    names: Mapping[str, tuple[str, ...]]
    num_grouped: int
    unlabelled: tuple[str, ...]


def split_folder(
    root: str | PathLike[str],
    *,
    val: float = 0.2,
    test: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SplitLists:
    """Write ROOT/splits/train.txt, val.txt and, if asked for, test.txt.

    Near-duplicate images are in the same split: scores on images that training has seen measure
    memorisation. Every class has the same share of its images in each split, as far as the groups
    allow. The same files and seed give the same lists.

    Args:
        root: Folder with images and labels, as `load_folder` reads them.
        val: Share of the images for val.
        test: Share of the images for test; 0 writes no list.
        seed: Seed of the random choice.
        overwrite: Replace existing lists.
        progress: Called with (images read, images in all) after each image.

    Raises:
        InputError: If the shares leave nothing for a split.
        FileExistsError: If a list exists and `overwrite` is off.
        FileNotFoundError: If the folder has no images or no labels.
        DataError: If an image or a mask cannot be read, or there are fewer groups than splits.

    Source: iterative stratification, Sechidis et al. 2011, over groups in place of samples.
    """
    root = Path(root).expanduser()
    shares = _check_shares(val, test)
    folder = root / "splits"
    files = {split: folder / f"{split}.txt" for split in shares}
    _check_lists(folder, files, overwrite=overwrite)
    layout = find_all(root)
    image_of = files_by_stem(layout.images)
    labels_of = match_masks(list(image_of), image_of, files_by_stem(layout.labels))
    if not image_of:
        raise FileNotFoundError(
            f"{layout.images} holds no images, but {name_contents(layout.images)}"
        )
    names = sorted(name for name in image_of if name in labels_of)
    if not names:
        raise DataError(
            f"none of the {len(image_of)} images in {layout.images} has a mask in {layout.labels}; "
            "a mask has the name of its image, or ends in _mask"
        )
    pairs = pair_files(names, image_of, labels_of, images=layout.images, labels=layout.labels)
    label_set, read_labels = open_classes(root, layout, pairs, pairs)
    prints: list[Fingerprint] = []
    shown = np.zeros((len(pairs), label_set.num_classes), bool)
    for index, pair in enumerate(pairs):
        prints.append(fingerprint(read_image(pair.image)))
        shown[index, _classes(pair, find_values(read_labels(pair.labels)), label_set)] = True
        if progress is not None:
            progress(index + 1, len(pairs))
    groups = _group(prints)
    if len(groups) < len(shares):
        raise DataError(
            f"the {len(pairs)} images of {root} form {len(groups)} group(s) of near-duplicates, "
            f"but {' and '.join(shares)} need one each; add images that differ"
        )
    chosen = _distribute(groups, shown, shares, np.random.default_rng(seed))
    lists = {split: tuple(names[i] for i in sorted(chosen[split])) for split in shares}
    folder.mkdir(exist_ok=True)
    for split, path in files.items():
        write_text(path, "\n".join(lists[split]) + "\n")
    num_grouped = sum(len(group) for group in groups if len(group) > 1)
    unlabelled = tuple(sorted(set(image_of) - set(names)))
    return SplitLists(files, lists, num_grouped, unlabelled)


def _check_shares(val: float, test: float) -> dict[str, float]:
    if not (val > 0 and test >= 0 and val + test < 1):
        raise InputError(
            f"val is {val:g} and test is {test:g}; val must be above 0, test 0 or more, and both "
            "together below 1"
        )
    shares = {"train": 1 - val - test, "val": val, "test": test}
    return {split: share for split, share in shares.items() if share > 0}


def _check_lists(folder: Path, files: Mapping[str, Path], *, overwrite: bool) -> None:
    existing = [split for split in ("train", "val", "test") if (folder / f"{split}.txt").exists()]
    stale = [split for split in existing if split not in files]
    if existing and (stale or not overwrite):
        raise FileExistsError(
            f"{folder} already holds lists of {', '.join(existing)}; "
            + (
                f"remove {' and '.join(f'{split}.txt' for split in stale)}, which would share "
                "images with the new lists, or give its share"
                if overwrite
                else "give --overwrite (overwrite=True) to replace them"
            )
        )


def _classes(pair: Pair, values: list[int], label_set: LabelSet) -> list[int]:
    """Return the classes in a mask; refuse other values."""
    classes = [value for value in values if value != label_set.ignore_index]
    strange = [value for value in classes if value >= label_set.num_classes]
    if strange:
        raise DataError(
            f"{pair.labels} holds the labels {strange[:8]}, but there are classes "
            f"0-{label_set.num_classes - 1}; `atrous doctor` lists all such files"
        )
    return classes


def _group(prints: list[Fingerprint]) -> list[list[int]]:
    """Group images that are near-duplicates of each other, directly or by way of others."""
    parent = list(range(len(prints)))

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for pair in find_duplicates(prints, prints):
        first, second = sorted((find(pair.first), find(pair.second)))
        parent[second] = first
    groups: dict[int, list[int]] = {}
    for index in range(len(prints)):
        groups.setdefault(find(index), []).append(index)
    return list(groups.values())


def _distribute(
    groups: list[list[int]],
    shown: NDArray[np.bool_],
    shares: Mapping[str, float],
    generator: np.random.Generator,
) -> dict[str, list[int]]:
    """Give every group to a split, the groups of the rarest class first.

    Args:
        groups: Images of each group.
        shown: (images, classes): whether an image shows a class.
        shares: Split -> its share.
        generator: Decides between groups of one size.

    Returns:
        Split -> images.
    """
    counts = np.array([shown[group].sum(axis=0) for group in groups], float)  # (groups, classes)
    sizes = np.array([len(group) for group in groups], float)
    share = np.array(list(shares.values()))
    wanted = share[:, None] * counts.sum(axis=0)  # (splits, classes)
    room = share * sizes.sum()  # (splits,)
    split_of = np.full(len(groups), -1)
    order = generator.permutation(len(groups))
    order = order[np.argsort(-sizes[order], kind="stable")]  # the largest first
    while (open_groups := order[split_of[order] < 0]).size:
        remaining = (counts[open_groups] > 0).sum(axis=0)
        if remaining.any():
            rarest = int(np.argmin(np.where(remaining > 0, remaining, np.inf)))
            batch = open_groups[counts[open_groups, rarest] > 0]
        else:  # without a class
            rarest, batch = None, open_groups
        for group in batch:
            lack = room if rarest is None else wanted[:, rarest]
            best = max(range(len(share)), key=lambda s: (round(lack[s], 9), round(room[s], 9)))
            split_of[group] = best
            wanted[best] -= counts[group]
            room[best] -= sizes[group]
    _fill_empty(split_of, sizes, len(share))
    return {
        split: [image for group in np.flatnonzero(split_of == index) for image in groups[group]]
        for index, split in enumerate(shares)
    }


def _fill_empty(split_of: NDArray[np.int64], sizes: NDArray[np.float64], num_splits: int) -> None:
    """Give every empty split the smallest group of the split with the most groups."""
    for split in range(num_splits):
        if not np.any(split_of == split):
            largest = np.bincount(split_of, minlength=num_splits).argmax()
            groups = np.flatnonzero(split_of == largest)
            split_of[groups[np.argmin(sizes[groups])]] = split
