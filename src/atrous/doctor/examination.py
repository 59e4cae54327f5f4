"""Read every image and label file of a data set once, and collect statistics."""

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
    Pair,
    Sample,
    UnknownSplitError,
    check_name,
    load_dataset,
)
from ..data.duplicates import Fingerprint, find_duplicates, fingerprint
from ..data.label_files import ColourReader, find_class_colours
from ..errors import AtrousError, DataError, InputError
from ..labels import Colour, LabelSet
from ..visualize import overlay

SHEET_IMAGES = 8
"""Overlays of each split that the page shows."""
SHEET_WIDTH_PX = 320


@dataclass
class SplitFacts:
    """Statistics of one split.

    Attributes:
        name: Name of the split.
        error: Why the split cannot be opened; empty if it can.
        is_missing: Whether it cannot be opened because files are missing.
        missing: The missing files.
        names: Names of all pairs of the split.
        examined: Names of the pairs that were read without error.
        faults: Name of a pair -> why it cannot be used.
        pixels: (K,) pixels of each class.
        images: (K,) number of images with each class.
        void_pixels: Pixels of the ignored index.
        void_images: Names of images without a known pixel.
        flat_images: Number of images whose known pixels are all of one class.
        sizes_hw: Rows and columns of each examined image.
        fingerprints: Fingerprint of each examined image.
        colours: Class -> colours in palettes of label files -> name of the first such pair.
        sheet: Names and overlays of some of the images, (h, w, 3) uint8.
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
    colours: dict[int, dict[Colour, str]] = field(default_factory=dict[int, dict[Colour, str]])
    sheet: list[tuple[str, NDArray[np.uint8]]] = field(
        default_factory=list[tuple[str, NDArray[np.uint8]]]
    )

    @property
    def is_part(self) -> bool:
        """Whether only a sample of the pairs was read."""
        return len(self.examined) + len(self.faults) < len(self.names)

    @property
    def void_share(self) -> float:
        """Share of the pixels without a class; 0 if nothing was read."""
        total = int(self.pixels.sum()) + self.void_pixels
        return self.void_pixels / total if total else 0.0


@dataclass(frozen=True)
class Examination:
    """Statistics of a data set.

    Attributes:
        dataset: Registered name.
        root: Folder of the data set.
        label_set: Classes; None if no split can be opened.
        splits: The training split first.
        leaks: Near-duplicates of training images in other splits: (name, other split, name in the
            other split, whether mirrored).
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
    """Read a data set and collect its statistics.

    Args:
        name: Registered name, as in `load_dataset`.
        root: Folder of the data set.
        splits: The training split first, then the splits to evaluate on.
        most: Number of pairs to read of each split, evenly spread; None reads all.
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
    indices = spread(len(dataset), most or len(dataset))
    shown = {indices[i] for i in spread(len(indices), SHEET_IMAGES)}
    facts = SplitFacts(dataset.split, names=names)
    facts.pixels, facts.images = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for done, index in enumerate(indices, start=1):
        try:
            sample = dataset[index]
        except (AtrousError, OSError) as error:
            facts.faults[names[index]] = str(error)
        else:
            _count(facts, sample, dataset.label_set)
            _note_colours(facts, dataset, dataset.pairs[index], sample)
            if index in shown:
                facts.sheet.append((sample.name, _small_overlay(sample, dataset.label_set)))
        if progress is not None:
            progress(dataset.split, done, len(indices))
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


def _note_colours(facts: SplitFacts, dataset: Dataset, pair: Pair, sample: Sample) -> None:
    """Note the colours of classes in palettes, if masks are read by number."""
    if isinstance(dataset.read_labels, ColourReader):
        return
    for index, colour in find_class_colours(pair.labels, sample.labels).items():
        if index != dataset.label_set.ignore_index:
            facts.colours.setdefault(index, {}).setdefault(colour, pair.name)


def _small_overlay(sample: Sample, label_set: LabelSet) -> NDArray[np.uint8]:
    """Draw the labels over the image, at the width of the page's thumbnails."""
    step = max(1, sample.image.shape[1] // SHEET_WIDTH_PX)
    image = np.ascontiguousarray(sample.image[::step, ::step])
    labels: NDArray[Any] = np.ascontiguousarray(sample.labels[::step, ::step])
    return np.array(overlay(image, labels, label_set, legend=False))


def _find_leaks(facts: list[SplitFacts]) -> list[tuple[str, str, str, bool]]:
    found: list[tuple[str, str, str, bool]] = []
    for other in facts[1:]:
        for pair in find_duplicates(facts[0].fingerprints, other.fingerprints):
            name, other_name = facts[0].examined[pair.first], other.examined[pair.second]
            found.append((name, other.name, other_name, pair.is_mirrored))
    return found


def spread(length: int, most: int) -> list[int]:
    """Choose at most `most` of `length` indices, evenly spread, the first among them."""
    return sorted({int(index) for index in np.linspace(0, length - 1, min(most, length))})
