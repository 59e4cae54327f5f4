"""What every data set gives: named pairs of an image and its labels."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_io import IMAGE_SUFFIXES, read_image, read_labels
from ..labels import LabelSet


@dataclass(frozen=True)
class Sample:
    """One image with its labels.

    Attributes:
        name: Identifier inside the data set, without suffix.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 or uint16 class indices; the label set's `ignore_index` where unknown.
    """

    name: str
    image: NDArray[np.uint8]
    labels: NDArray[Any]


@dataclass(frozen=True)
class Pair:
    """The two files of a sample."""

    name: str
    image: Path
    labels: Path


class Dataset(Sequence[Sample]):
    """Image and label files of one split, read when asked for.

    Attributes:
        name: Registered name, as in `load_dataset`.
        split: Split name.
        label_set: Classes and colours.
        pairs: Files in the order of the split.
    """

    def __init__(self, name: str, split: str, label_set: LabelSet, pairs: Sequence[Pair]) -> None:
        self.name = name
        self.split = split
        self.label_set = label_set
        self.pairs = tuple(pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: Any) -> Any:
        """Read a sample; a slice gives the data set of those pairs.

        Raises:
            ValueError: If image and labels differ in size, or a label is no class.
        """
        if isinstance(index, slice):
            part = copy.copy(self)
            part.pairs = self.pairs[index]
            return part
        pair = self.pairs[index]
        image = read_image(pair.image)
        labels = self.adapt_labels(read_labels(pair.labels))
        if image.shape[:2] != labels.shape:
            raise ValueError(
                f"{pair.labels} is {labels.shape[0]}x{labels.shape[1]} but {pair.image.name} is "
                f"{image.shape[0]}x{image.shape[1]}; labels must have their image's size"
            )
        self._check_classes(pair, labels)
        return Sample(pair.name, image, labels)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def adapt_labels(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Turn a file's indices into the label set's; the files' own by default."""
        return labels

    def _check_classes(self, pair: Pair, labels: NDArray[Any]) -> None:
        present = np.flatnonzero(np.bincount(labels.ravel()))
        ignored = self.label_set.ignore_index
        strange = [int(v) for v in present if v >= self.label_set.num_classes and v != ignored]
        if strange:
            raise ValueError(
                f"{pair.labels} holds the labels {strange[:8]}, but {self.name} has classes "
                f"0-{self.label_set.num_classes - 1} and {ignored} for unknown; map them or mend "
                "the file"
            )


def read_split(root: Path, split: str) -> list[str]:
    """Read the names in ROOT/splits/SPLIT.txt, one a line.

    Raises:
        FileNotFoundError: If there is no such split; the ones that exist are listed.
        ValueError: If the file holds no name.
    """
    path = root / "splits" / f"{split}.txt"
    if not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.txt"))
        raise FileNotFoundError(
            f"{path} does not exist; "
            + (
                f"splits there: {', '.join(known)}"
                if known
                else "list the names of the split's images in it, one a line"
            )
        )
    lines = path.read_text(encoding="utf-8-sig").splitlines()  # -sig: Windows' editors mark theirs
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise ValueError(f"{path} is empty; list the names of the split's images in it, one a line")
    return names


def pair_by_name(names: Sequence[str], images: Path, labels: Path) -> list[Pair]:
    """Find the image and the label file of each name, whatever their suffixes.

    Raises:
        FileNotFoundError: If a folder or a file is missing; says how many and names the first.
    """
    image_of, labels_of = files_by_stem(images), files_by_stem(labels)
    missing = [f"{images / name}.*" for name in names if name not in image_of]
    missing += [f"{labels / name}.*" for name in names if name not in labels_of]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} file(s) of the split are missing, first {missing[0]}; every name "
            f"needs an image in {images.name}/ and labels in {labels.name}/ with the same stem; "
            "names in a split file have no suffix"
        )
    return [Pair(name, image_of[name], labels_of[name]) for name in names]


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Map the stems in a folder to its image files."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not a folder; the data set's files are expected there"
        )
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if path.stem in files:
            raise ValueError(
                f"{folder} holds both {files[path.stem].name} and {path.name}; names must differ "
                "by more than the suffix"
            )
        files[path.stem] = path
    return files
