"""CamVid: street scenes at 360x480, eleven classes (Brostow et al. 2009; SegNet's class set)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labels import LabelSet
from .base import Dataset, Pair, pair_by_name, read_split

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
SEGNET_VOID = 11


class SegNetCamVid(Dataset):
    """The layout of the SegNet tutorial, whose label 11 is void."""

    def adapt_labels(self, labels: NDArray[Any]) -> NDArray[Any]:
        assert CAMVID.ignore_index is not None
        return np.where(labels == SEGNET_VOID, CAMVID.ignore_index, labels).astype(np.uint8)


def load_camvid(root: Path, *, split: str) -> Dataset:
    """Read CamVid from either of its layouts.

    * ROOT/images, ROOT/labels, ROOT/splits/SPLIT.txt, void as 255;
    * the SegNet tutorial's ROOT/SPLIT, ROOT/SPLITannot and, if there, ROOT/SPLIT.txt, void as 11.
    The
      tutorial's repository keeps them in a folder CamVid, which may be given or left out.

    Raises:
        FileNotFoundError: If neither layout is there, or files are missing.
    """
    if (root / "splits").is_dir():
        pairs = pair_by_name(read_split(root, split), root / "images", root / "labels")
        return Dataset("camvid", split, CAMVID, pairs)
    base = root / "CamVid" if (root / "CamVid").is_dir() else root
    if (base / f"{split}annot").is_dir():
        return SegNetCamVid("camvid", split, CAMVID, _segnet_pairs(base, split))
    raise FileNotFoundError(
        f"{root} holds neither splits/{split}.txt beside images/ and labels/, nor {split}/ beside "
        f"{split}annot/; give the folder that CamVid was unpacked into"
    )


def _segnet_pairs(base: Path, split: str) -> list[Pair]:
    listing = base / f"{split}.txt"
    if listing.is_file():
        # Each line names image and labels by a path on its author's machine; the names are what
        # counts.
        lines = [
            line.split()[0]
            for line in listing.read_text(encoding="utf-8").splitlines()
            if line.strip()
        ]
        names = [Path(line).stem for line in lines]
    else:
        names = sorted(p.stem for p in (base / f"{split}annot").glob("*.png"))
    return pair_by_name(names, base / split, base / f"{split}annot")
