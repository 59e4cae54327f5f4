"""Where the images, masks and lists of a user's own data set are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..image_io import IMAGE_SUFFIXES
from .base import Pair, files_by_stem, pair_files, read_names, read_split

FLAT = (("images", "labels"), ("JPEGImages", "SegmentationClass"))
VOC_LISTS = "ImageSets/Segmentation"
MASK_ENDS = ("_mask", "_label", "_labels", "_seg", "_gt")
"""Ends of names of masks: images/a.jpg belongs to labels/a.png or labels/a_mask.png."""


@dataclass(frozen=True)
class Layout:
    """The files of a split.

    Attributes:
        images: Folder of the images.
        labels: Folder of the masks.
        names: Names in the split; None for every image in the folder.
        other_labels: Folders of the other splits' masks.
    """

    images: Path
    labels: Path
    names: tuple[str, ...] | None
    other_labels: tuple[Path, ...] = ()

    def label_files(self) -> list[Path]:
        """List the masks of all splits."""
        files: list[Path] = []
        for folder in (self.labels, *self.other_labels):
            found = sorted(folder.iterdir()) if folder.is_dir() else []
            files += [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES]
        return files


def find_layout(root: Path, split: str) -> Layout:
    """Find the files of a split, in the first of these layouts that exists.

    * ROOT/images, ROOT/labels and ROOT/splits/SPLIT.txt
    * ROOT/images/SPLIT and ROOT/labels/SPLIT
    * ROOT/SPLIT/images and ROOT/SPLIT/labels
    * ROOT/JPEGImages, ROOT/SegmentationClass, and ROOT/splits/SPLIT.txt or
      ROOT/ImageSets/Segmentation/SPLIT.txt (VOC, CVAT)

    Raises:
        FileNotFoundError: If there is no such split; the error names existing ones.
        DataError: If the list is empty.
    """
    listing = root / "splits" / f"{split}.txt"
    for images, labels in FLAT:
        if listing.exists() and (root / images).is_dir():
            return Layout(root / images, root / labels, tuple(read_split(root, split)))
    found = [
        Layout(images, labels, None, _siblings(labels, split))
        for images, labels in (
            (root / "images" / split, root / "labels" / split),
            (root / split / "images", root / split / "labels"),
        )
        if images.is_dir()
    ]
    if len(found) > 1:
        raise DataError(
            f"{root} holds the images of {split} in both {found[0].images} and {found[1].images}; "
            "keep one of them"
        )
    if found:
        return found[0]
    voc_list = root / VOC_LISTS / f"{split}.txt"
    if voc_list.exists() and (root / "JPEGImages").is_dir():
        names = tuple(read_names(voc_list))
        return Layout(root / "JPEGImages", root / "SegmentationClass", names)
    if any((root / images).is_dir() for images, _ in FLAT) or any(root.glob("*/images")):
        raise FileNotFoundError(_describe_missing_list(root, split))
    raise FileNotFoundError(
        f"{root / 'images'} is not a folder; the data set's images are expected there. {root} "
        f"holds {name_contents(root)}"
    )


def has_split(root: Path, split: str) -> bool:
    """Find out whether the data set has a split of this name."""
    try:
        find_layout(root, split)
    except FileNotFoundError:
        return False
    return True


def find_all(root: Path) -> Layout:
    """Find all files of a data set that has no splits yet.

    Raises:
        FileNotFoundError: If there are no folders images and labels.
    """
    for images, labels in FLAT:
        if (root / images).is_dir() and (root / labels).is_dir():
            return Layout(root / images, root / labels, None)
    raise FileNotFoundError(
        f"{root} holds no folders images and labels, but {name_contents(root)}; put the images and "
        "their masks there"
    )


def pair_layout(layout: Layout) -> list[Pair]:
    """Find the image and the mask of each name; a mask may have one of `MASK_ENDS`.

    Raises:
        MissingFilesError: If files are missing.
        FileNotFoundError: If a folder is missing, or holds no images.
        DataError: If an image has two masks.
    """
    image_of = files_by_stem(layout.images)
    names = list(image_of) if layout.names is None else list(layout.names)
    if not names:
        raise FileNotFoundError(
            f"{layout.images} holds no images, but {name_contents(layout.images)}"
        )
    labels_of = match_masks(names, image_of, files_by_stem(layout.labels))
    return pair_files(names, image_of, labels_of, images=layout.images, labels=layout.labels)


def match_masks(
    names: Sequence[str], image_of: dict[str, Path], labels_of: dict[str, Path]
) -> dict[str, Path]:
    """Return the mask of each name that has one, and the masks that belong to no name.

    Raises:
        DataError: If an image has two masks.
    """
    found: dict[str, Path] = {}
    for name in names:
        stems = [name, *(f"{name}{end}" for end in MASK_ENDS)]
        # a_mask may be the mask of a, or that of an image of its own
        masks = [labels_of[s] for s in stems if s in labels_of and (s == name or s not in image_of)]
        if len(masks) > 1:
            raise DataError(
                f"{name} has the masks {' and '.join(mask.name for mask in masks)} in "
                f"{masks[0].parent}; keep one of them there"
            )
        if masks:
            found[name] = masks[0]
    used = set(found.values())
    return found | {s: path for s, path in labels_of.items() if path not in used and s not in found}


def _siblings(labels: Path, split: str) -> tuple[Path, ...]:
    """Return the folders of other splits' masks: labels/val beside labels/train."""
    if labels.name == split:
        others = labels.parent.glob("*")
    else:
        others = labels.parent.parent.glob("*/labels")
    return tuple(sorted(path for path in others if path.is_dir() and path != labels))


def _describe_missing_list(root: Path, split: str) -> str:
    try:
        read_split(root, split)
    except FileNotFoundError as error:
        message = str(error)
    else:
        message = f"{root} has no split {split}"
    others = sorted(
        {path.stem for path in (root / VOC_LISTS).glob("*.txt")}
        | {path.name for path in (root / "images").glob("*") if path.is_dir()}
        | {path.parent.name for path in root.glob("*/images")}
    )
    if others:
        message += f"; there are {', '.join(others)}"
    at_root = sorted(
        path.name for path in root.glob("*.txt") if path.stem in ("train", "val", split)
    )
    if at_root:
        message += f"; move {' and '.join(at_root)} from {root} into {root / 'splits'}"
    return f"{message}. `atrous split {root}` writes lists for train and val"


def name_contents(folder: Path) -> str:
    """Name what a folder holds: its first files and folders."""
    names = sorted(f"{p.name}/" if p.is_dir() else p.name for p in folder.iterdir())
    rest = len(names) - 6
    return (", ".join(names[:6]) or "nothing") + (f" and {rest} more" if rest > 0 else "")
