"""Make a `folder` data set of nine parts of dressed people from Clothing Co-Parsing (CCP).

    python tools/ccp_parts.py CCP OUT

CCP is the folder of the unpacked archive: photos/NNNN.jpg and
annotations/pixel-level/NNNN.mat (variable `groundtruth`), or a copy of it with images/NNNN.jpg and
labels/NNNN.png, where the PNG holds the same 59 class indices. The tool writes
labels/NNNN.png, classes.txt, splits/ and a link to the images into OUT.

Images whose number ends in 1 or 6 are `val` up to number 500 and `test` above; all others are
`train`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.data.base import files_by_stem
from atrous.data.mat import read_mat
from atrous.image_io import read_labels, write_labels
from atrous.labels import LabelSet, voc_palette

# The data set's numbers (label_list.mat), in order.
CLASSES = (
    "null", "accessories", "bag", "belt", "blazer", "blouse", "bodysuit", "boots", "bra",
    "bracelet", "cape", "cardigan", "clogs", "coat", "dress", "earrings", "flats", "glasses",
    "gloves", "hair", "hat", "heels", "hoodie", "intimate", "jacket", "jeans", "jumper", "leggings",
    "loafers", "necklace", "panties", "pants", "pumps", "purse", "ring", "romper", "sandals",
    "scarf", "shirt", "shoes", "shorts", "skin", "skirt", "sneakers", "socks", "stockings", "suit",
    "sunglasses", "sweater", "sweatshirt", "swimwear", "t-shirt", "tie", "tights", "top", "vest",
    "wallet", "watch", "wedges",
)  # fmt: skip

# The outline of a suit is its jacket, without the trousers; jumpers and rompers are overalls.
PARTS: dict[str, tuple[str, ...]] = {
    "background": ("null",),
    "hair": ("hair",),
    "skin": ("skin",),
    "upper clothes": (
        "blazer", "blouse", "bra", "cape", "cardigan", "coat", "hoodie", "intimate", "jacket",
        "shirt", "suit", "sweater", "sweatshirt", "t-shirt", "top", "vest",
    ),
    "one-piece": ("bodysuit", "dress", "jumper", "romper", "swimwear"),
    "lower clothes": (
        "jeans", "leggings", "panties", "pants", "shorts", "skirt", "socks", "stockings", "tights",
    ),
    "shoes": (
        "boots", "clogs", "flats", "heels", "loafers", "pumps", "sandals", "shoes", "sneakers",
        "wedges",
    ),
    "bag": ("bag", "purse", "wallet"),
    "accessories": (
        "accessories", "belt", "bracelet", "earrings", "glasses", "gloves", "hat", "necklace",
        "ring", "scarf", "sunglasses", "tie", "watch",
    ),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Convert the copy of CCP that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ccp", type=Path, help="folder of the data set")
    parser.add_argument("out", type=Path, help="folder to make")
    options = parser.parse_args(arguments)
    try:
        counts = convert(options.ccp, options.out)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"{options.out}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


def convert(ccp: Path, out: Path) -> dict[str, int]:
    """Write OUT; returns the number of images in each split.

    Raises:
        FileNotFoundError: If `ccp` has neither layout, or an image is missing.
        ValueError: If a label is not one of the 59 classes.
        OSError: If the folder of images cannot be linked.
    """
    photos, annotations, read = find_layout(ccp)
    image_of, table = files_by_stem(photos), merge_table()
    palette = LabelSet(tuple(PARTS), voc_palette(len(PARTS)))
    (out / "labels").mkdir(parents=True, exist_ok=True)
    (out / "splits").mkdir(exist_ok=True)
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for name, path in annotations.items():
        if name not in image_of:
            raise FileNotFoundError(f"{path} has no image {photos / name}.jpg; unpack both")
        labels = read(path)
        if labels.max() >= len(CLASSES):
            raise ValueError(f"{path} holds the label {labels.max()}; CCP's are 0-58")
        write_labels(out / "labels" / f"{name}.png", table[labels], palette)
        splits[split_of(name)].append(name)
    for split, names in splits.items():
        if names:
            text = "".join(f"{name}\n" for name in names)
            (out / "splits" / f"{split}.txt").write_text(text, encoding="utf-8")
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in PARTS), encoding="utf-8")
    link_photos(photos, out / "images")
    return {split: len(names) for split, names in splits.items() if names}


def find_layout(ccp: Path) -> tuple[Path, dict[str, Path], Callable[[Path], NDArray[Any]]]:
    """Return the folder of images, the label file of each image, and a function that reads one."""
    pixel_level = ccp / "annotations" / "pixel-level"
    if pixel_level.is_dir():
        files = {path.stem: path for path in sorted(pixel_level.glob("*.mat"))}
        return ccp / "photos", files, lambda path: read_mat(path, "groundtruth").astype(np.uint8)
    if (ccp / "labels").is_dir():
        return ccp / "images", files_by_stem(ccp / "labels"), read_labels
    raise FileNotFoundError(
        f"{ccp} holds neither annotations/pixel-level/ with photos/, nor labels/ with images/; "
        "give the folder that CCP was unpacked into"
    )


def merge_table() -> NDArray[np.uint8]:
    """Return the part of each of the 59 classes: (59,) uint8."""
    part_of = {name: index for index, names in enumerate(PARTS.values()) for name in names}
    return np.array([part_of[name] for name in CLASSES], np.uint8)


def split_of(name: str) -> str:
    """Return the split of an image, from its number."""
    number = int(name)
    if number % 5 != 1:
        return "train"
    return "val" if number <= 500 else "test"


def link_photos(photos: Path, link: Path) -> None:
    """Link OUT/images to the folder of images."""
    if link.exists():
        return
    try:
        link.symlink_to(photos.resolve(), target_is_directory=True)
    except OSError as error:
        raise OSError(f"{link} could not be linked ({error}); copy {photos} there") from error


if __name__ == "__main__":
    main()
