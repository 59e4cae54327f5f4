"""Reads every pair of a data set once and counts what is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import (
    Dataset,
    MissingFilesError,
    Sample,
    UnknownSplitError,
    check_name,
    load_dataset,
)
from ..errors import AtrousError, DataError, InputError
from ..labels import LabelSet
from ..visualize import overlay
from .duplicates import Duplicate, Fingerprint, find_duplicates, fingerprint

SHEET_PICTURES = 8
"""Overlays kept of each split."""
SHEET_WIDTH_PX = 320


@dataclass
class SplitFacts:
    """What one split holds.

    Attributes:
        name: Split name.
        error: Why the split does not open; empty where it does.
        is_missing: Whether that is because files are not there.
        missing: Files that were looked for and are not there.
        names: Every pair of the split.
        examined: Names of the pairs that were read without fault.
        faults: Name of a pair -> why it cannot be used.
        pixels: (K,) pixels of each class.
        images: (K,) images in which each class is.
        void_pixels: Pixels of the ignored index.
        void_images: Names of images without a known pixel.
        flat_images: Number of images whose known pixels are all of one class.
        sizes_hw: Rows and columns of each examined image.
        fingerprints: One for each examined image.
        sheet: Name and overlay of some of them, (h, w, 3) uint8.
    """

    name: str
    error: str = ""
    is_missing: bool = False
    missing: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    examined: list[str] = field(default_factory=list[str])
    faults: dict[str, str] = field(default_factory=dict[str, str])
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    images: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    void_pixels: int = 0
    void_images: list[str] = field(default_factory=list[str])
    flat_images: int = 0
    sizes_hw: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    fingerprints: list[Fingerprint] = field(default_factory=list[Fingerprint])
    sheet: list[tuple[str, NDArray[np.uint8]]] = field(
        default_factory=list[tuple[str, NDArray[np.uint8]]]
    )

    @property
    def is_part(self) -> bool:
        """Whether only some of its pairs were read."""
        return len(self.examined) + len(self.faults) < len(self.names)

    @property
    def void_share(self) -> float:
        """Share of all pixels that are of no class; 0 where nothing was read."""
        total = int(self.pixels.sum()) + self.void_pixels
        return self.void_pixels / total if total else 0.0


@dataclass(frozen=True)
class Examination:
    """What a data set holds.

    Attributes:
        dataset: Registered name.
        root: Its folder.
        label_set: Classes; None where no split opens.
        splits: First the one that trains.
        leaks: Pairs of names, of the first split and of another, whose pictures are nearly the
            same: (name, other split, other name, whether mirrored).
    """

    dataset: str
    root: Path
    label_set: LabelSet | None
    splits: tuple[SplitFacts, ...]
    leaks: tuple[tuple[str, str, str, bool], ...]


Progress = Callable[[str, int, int], None]


def examine(
    name: str,
    root: Path,
    *,
    splits: Sequence[str],
    most: int | None = None,
    progress: Progress | None = None,
) -> Examination:
    """Read a data set and count.

    Args:
        name: Registered name, as in `load_dataset`.
        root: Its folder.
        splits: First the one that trains, then those that are scored.
        most: Pairs to read of each split, evenly spread; all where None.
        progress: Called with (split, pairs done, pairs to read) after each pair.

    Raises:
        InputError: If the name or a split is unknown, or `most` is below 1.
        FileNotFoundError: If `root` is no folder.
    """
    if most is not None and most < 1:
        raise InputError(f"{most} pairs cannot be examined; give 1 or more")
    check_name(name)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; give the one that holds the data set")
    facts: list[SplitFacts] = []
    label_set = None
    for split in splits:
        try:
            dataset = load_dataset(name, root, split=split)
        except UnknownSplitError:
            raise
        except (FileNotFoundError, DataError) as error:
            missing = error.missing if isinstance(error, MissingFilesError) else ()
            is_missing = isinstance(error, FileNotFoundError)
            facts.append(
                SplitFacts(split, error=str(error), is_missing=is_missing, missing=missing)
            )
            continue
        label_set = dataset.label_set
        facts.append(_examine_split(dataset, most, progress))
    return Examination(name, root, label_set, tuple(facts), tuple(_find_leaks(facts)))


def _examine_split(dataset: Dataset, most: int | None, progress: Progress | None) -> SplitFacts:
    classes = dataset.label_set.num_classes
    names = tuple(pair.name for pair in dataset.pairs)
    places = spread(len(dataset), most or len(dataset))
    shown = {places[i] for i in spread(len(places), SHEET_PICTURES)}
    facts = SplitFacts(dataset.split, names=names)
    facts.pixels, facts.images = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for done, place in enumerate(places, start=1):
        try:
            sample = dataset[place]
        except (AtrousError, OSError) as error:
            facts.faults[names[place]] = str(error)
        else:
            _count(facts, sample, dataset.label_set)
            if place in shown:
                facts.sheet.append((sample.name, _picture(sample, dataset.label_set)))
        if progress is not None:
            progress(dataset.split, done, len(places))
    return facts


def _count(facts: SplitFacts, sample: Sample, label_set: LabelSet) -> None:
    classes = label_set.num_classes
    counts = np.bincount(sample.labels.ravel(), minlength=classes)
    known = counts[:classes]
    facts.pixels += known
    facts.images += known > 0
    facts.void_pixels += int(counts.sum() - known.sum())
    if not known.any():
        facts.void_images.append(sample.name)
    facts.flat_images += int(np.count_nonzero(known) == 1)
    facts.examined.append(sample.name)
    facts.sizes_hw.append((sample.labels.shape[0], sample.labels.shape[1]))
    facts.fingerprints.append(fingerprint(sample.image))


def _picture(sample: Sample, label_set: LabelSet) -> NDArray[np.uint8]:
    """Lay the labels over the photo, small enough for a page."""
    step = max(1, sample.image.shape[1] // SHEET_WIDTH_PX)
    image = np.ascontiguousarray(sample.image[::step, ::step])
    labels: NDArray[Any] = np.ascontiguousarray(sample.labels[::step, ::step])
    return np.array(overlay(image, labels, label_set, legend=False))


def _find_leaks(facts: list[SplitFacts]) -> list[tuple[str, str, str, bool]]:
    found: list[tuple[str, str, str, bool]] = []
    for other in facts[1:]:
        for pair in find_duplicates(facts[0].fingerprints, other.fingerprints):
            found.append(_named(facts[0], other, pair))
    return found


def _named(train: SplitFacts, other: SplitFacts, pair: Duplicate) -> tuple[str, str, str, bool]:
    name, other_name = train.examined[pair.first], other.examined[pair.second]
    return name, other.name, other_name, pair.is_mirrored


def spread(length: int, most: int) -> list[int]:
    """Choose at most `most` places of `length`, evenly spread, the first among them."""
    return sorted({int(place) for place in np.linspace(0, length - 1, min(most, length))})
