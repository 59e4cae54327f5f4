"""CamVid: street scenes at 360x480, eleven classes (Brostow et al. 2009; SegNet's class set)."""

from __future__ import annotations

from pathlib import Path

from ..labels import IGNORE_INDEX, LabelSet
from .base import Dataset, Pair, pair_by_name, read_names, read_split
from .label_files import MappedReader

# The class order of the SegNet copy, with the colours of the original CamVid label files.
CAMVID = LabelSet(
    names=(
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
        "bicyclist",
    ),
    palette=(
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)  # fmt: skip
# The SegNet tutorial's files call void 11.
SEGNET_READER = MappedReader((*range(11), IGNORE_INDEX))


def load_camvid(root: Path, *, split: str) -> Dataset:
    """Read CamVid from either of its layouts.

    * ROOT/images, ROOT/labels, ROOT/splits/SPLIT.txt, void as 255;
    * the SegNet tutorial's ROOT/SPLIT, ROOT/SPLITannot and, if there, ROOT/SPLIT.txt, void as 11.
      The tutorial's repository keeps them in a folder CamVid, which may be given or left out.

    Raises:
        FileNotFoundError: If neither layout is there, or files are missing.
    """
    if (root / "splits").is_dir():
        pairs = pair_by_name(read_split(root, split), root / "images", root / "labels")
        return Dataset("camvid", split, CAMVID, pairs)
    base = root / "CamVid" if (root / "CamVid").is_dir() else root
    if (base / f"{split}annot").is_dir():
        pairs = _segnet_pairs(base, split)
        return Dataset("camvid", split, CAMVID, pairs, read_labels=SEGNET_READER)
    raise FileNotFoundError(
        f"{root} holds neither splits/{split}.txt beside images/ and labels/, nor {split}/ beside "
        f"{split}annot/; give the folder that CamVid was unpacked into"
    )


def _segnet_pairs(base: Path, split: str) -> list[Pair]:
    listing = base / f"{split}.txt"
    if listing.is_file():
        # Each line names both files by paths on its author's machine; the names are what counts.
        names = read_names(listing)
    else:
        names = sorted(p.stem for p in (base / f"{split}annot").glob("*.png"))
    return pair_by_name(names, base / split, base / f"{split}annot")
