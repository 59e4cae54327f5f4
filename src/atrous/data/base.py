"""The base of every data set: named pairs of an image file and a label file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..image_io import IMAGE_SUFFIXES, read_image, read_labels
from ..labels import LabelSet
from ..suggestions import did_you_mean
from .label_files import LabelReader


@dataclass(frozen=True)
class Sample:
    """One image with its labels.

    Attributes:
        name: Identifier in the data set, without suffix.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 or uint16 class indices; unknown pixels have the `ignore_index` of the
            label set.
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


@dataclass(frozen=True)
class Photos:
    """The images of a split, with or without labels on disk.

    Attributes:
        name: Registered name of the data set.
        split: Name of the split.
        label_set: Classes of the data set.
        paths: Identifier -> file, in the order of the split.
    """

    name: str
    split: str
    label_set: LabelSet
    paths: Mapping[str, Path]


class MissingFilesError(FileNotFoundError):
    """Some files of a split do not exist.

    Attributes:
        missing: Patterns of the missing files.
    """

    def __init__(self, message: str, missing: Sequence[str]) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


class UnknownSplitError(DataError):
    """The data set has no split of this name."""


class Dataset(Sequence[Sample]):
    """Image and label files of one split, read on access.

    Attributes:
        name: Registered name, as in `load_dataset`.
        split: Name of the split.
        label_set: Classes and colours.
        pairs: Files in the order of the split.
        read_labels: Reads a label file as class indices.
    """

    def __init__(
        self,
        name: str,
        split: str,
        label_set: LabelSet,
        pairs: Sequence[Pair],
        *,
        read_labels: LabelReader = read_labels,
    ) -> None:
        self.name = name
        self.split = split
        self.label_set = label_set
        self.pairs = tuple(pairs)
        self.read_labels = read_labels

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: Any) -> Any:
        """Read a sample; a slice returns the data set of those pairs.

        Raises:
            DataError: If image and labels differ in size, or a label is no class.
        """
        if isinstance(index, slice):
            return self.with_pairs(self.pairs[index])
        pair = self.pairs[index]
        image = read_image(pair.image)
        labels = self.read_labels(pair.labels)
        if image.shape[:2] != labels.shape:
            raise DataError(
                f"{pair.labels} is {labels.shape[1]}x{labels.shape[0]} (width x height) but "
                f"{pair.image.name} is {image.shape[1]}x{image.shape[0]}; labels must have their "
                "image's size"
            )
        self._check_classes(pair, labels)
        return Sample(pair.name, image, labels)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def with_pairs(self, pairs: Sequence[Pair]) -> Dataset:
        """Return the same data set with other files."""
        return Dataset(self.name, self.split, self.label_set, pairs, read_labels=self.read_labels)

    def _check_classes(self, pair: Pair, labels: NDArray[Any]) -> None:
        present = np.flatnonzero(np.bincount(labels.ravel()))
        ignored = self.label_set.ignore_index
        strange = [int(v) for v in present if v >= self.label_set.num_classes and v != ignored]
        if strange:
            raise DataError(
                f"{pair.labels} holds the labels {strange[:8]}, but {self.name} has classes "
                f"0-{self.label_set.num_classes - 1} and {ignored} for unknown; map them, or "
                "fix the file"
            )


def read_split(root: Path, split: str) -> list[str]:
    """Read the names in ROOT/splits/SPLIT.txt, one per line.

    Raises:
        FileNotFoundError: If the split does not exist; the error lists the existing ones.
        DataError: If the file holds no name.
    """
    path = root / "splits" / f"{split}.txt"
    if not path.exists():
        known = sorted(p.stem for p in path.parent.glob("*.txt"))
        raise FileNotFoundError(
            f"{path} does not exist; "
            + (
                f"splits there: {', '.join(known)}"
                if known
                else "list the names of the split's images in it, one per line"
            )
        )
    return _strip_suffixes(path, [line.strip() for line in read_lines(path) if line.strip()])


def read_names(path: Path) -> list[str]:
    """Read a list of images: the first word of each line, without folders and suffix.

    Raises:
        FileNotFoundError: If the file does not exist.
        DataError: If the file holds no name.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; it lists the images of the split")
    lines = (line.split() for line in read_lines(path))
    return _strip_suffixes(path, [words[0].rsplit("/", 1)[-1] for words in lines if words])


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file in UTF-8, with or without a byte order mark.

    Raises:
        FileNotFoundError: If the file does not exist.
        DataError: If the path is a folder, or the file is no UTF-8 text.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; a text file is needed there")
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8; save it as UTF-8") from error


def _strip_suffixes(path: Path, names: list[str]) -> list[str]:
    # Path.with_suffix would read the name "a.b" as a file of type b.
    names = [_without_suffix(name) for name in names]
    if not names:
        raise DataError(
            f"{path} is empty; list the names of the split's images in it, one per line"
        )
    return names


def check_split(name: str, split: str, known: Iterable[str]) -> None:
    """Check that a data set has a split.

    Raises:
        UnknownSplitError: If it does not; the error lists similar names, or all.
    """
    known = list(known)
    if split not in known:
        raise UnknownSplitError(f"{name} has no split {split!r}{did_you_mean(split, known)}")


def find_folder(root: Path, *candidates: str) -> Path:
    """Return the first of these folders that exists below `root`; `.` is `root` itself.

    Raises:
        FileNotFoundError: If none of them exists.
    """
    for candidate in candidates:
        if (root / candidate).is_dir():
            return root / candidate
    names = [str(root / candidate) for candidate in candidates]
    raise FileNotFoundError(
        f"none of these folders exists: {', '.join(names)}; give the folder that the data set's "
        "archives were unpacked into"
    )


def pair_by_name(names: Sequence[str], images: Path, labels: Path) -> list[Pair]:
    """Find the image file and the label file of each name, with any suffix.

    Raises:
        MissingFilesError: If files are missing; the error gives their number and the first.
        FileNotFoundError: If a folder is missing.
    """
    return pair_files(
        names, files_by_stem(images), files_by_stem(labels), images=images, labels=labels
    )


def pair_files(
    names: Sequence[str],
    image_of: Mapping[str, Path],
    labels_of: Mapping[str, Path],
    *,
    images: Path,
    labels: Path,
    label_end: str = "",
) -> list[Pair]:
    """Pair the files of each name; folders and `label_end` are used in error messages only."""
    missing = [f"{images / name}.*" for name in names if name not in image_of]
    missing += [f"{labels / name}{label_end}.*" for name in names if name not in labels_of]
    if missing:
        listed = set(names)
        first = Path(missing[0]).name.removesuffix(f"{label_end}.*")
        near = [
            f"{path.parent.name}/{path.name}"
            for files in (image_of, labels_of)
            for stem, path in files.items()
            if stem not in listed and (stem.startswith(first) or first.startswith(stem))
        ]
        raise MissingFilesError(
            f"{len(missing)} file(s) of the split are missing, first {missing[0]}; every name "
            f"needs an image in {images.name}/ and labels in {labels.name}/ with the same stem"
            + (f" and {label_end}" if label_end else "")
            + (f"; {', '.join(near[:3])} may be meant" if near else ""),
            missing,
        )
    return [Pair(name, image_of[name], labels_of[name]) for name in names]


def files_by_stem(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """Map stems to the files in a folder with one of these suffixes."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not a folder; the data set's files are expected there"
        )
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes:
            continue
        if path.stem in files:
            raise DataError(
                f"{folder} holds both {files[path.stem].name} and {path.name}; names must differ "
                "by more than the suffix"
            )
        files[path.stem] = path
    return files


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else name
