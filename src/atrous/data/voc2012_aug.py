"""VOC 2012 with the labels of SBD, on which DeepLab trains (Hariharan et al. 2011)."""

from __future__ import annotations

from pathlib import Path

from .base import Dataset, check_split, files_by_stem, pair_files, read_names
from .label_files import BySuffix, MatReader, read_archived
from .voc import VOC, find_devkit, list_file

READER = BySuffix(((".png", read_archived), (".mat", MatReader(("GTcls", "Segmentation")))))
SBD_FOLDERS = (
    "benchmark_RELEASE/dataset", "SBD/benchmark_RELEASE/dataset", "sbd/dataset", "SBD", "sbd",
    "dataset",
)  # fmt: skip
CONVERTED = "SegmentationClassAug"


def load_voc2012_aug(root: Path, *, split: str) -> Dataset:
    """Read VOC 2012 with the labels of SBD.

    * train: SBD train, SBD val and VOC train, without VOC val: 10,582 images. An image with labels
      in both uses those of VOC.
    * val: the split of VOC, which does not need SBD.

    SBD is either benchmark_RELEASE/dataset (train.txt, val.txt and cls/*.mat) beside VOCdevkit, or
    its labels as PNG in VOC2012/SegmentationClassAug.

    Raises:
        DataError: If there is no such split.
        FileNotFoundError: If a folder or a file is missing.
    """
    check_split("voc2012_aug", split, ("train", "val"))
    devkit = find_devkit(root, 2012)
    own_folder = devkit / "SegmentationClass"
    val_names = read_names(list_file(devkit, "Segmentation", name="voc2012_aug", split="val"))
    image_of, own_labels = files_by_stem(devkit / "JPEGImages"), files_by_stem(own_folder)
    if split == "val":
        names, labels_of, labels = val_names, own_labels, own_folder
    else:
        more_names, labels_of, labels = _sbd(root, devkit)
        own_names = read_names(list_file(devkit, "Segmentation", name="voc2012_aug", split="train"))
        names = sorted({*more_names, *own_names} - set(val_names))
        labels_of = labels_of | own_labels
    pairs = pair_files(names, image_of, labels_of, images=devkit / "JPEGImages", labels=labels)
    return Dataset("voc2012_aug", split, VOC, pairs, read_labels=READER)


def _sbd(root: Path, devkit: Path) -> tuple[list[str], dict[str, Path], Path]:
    """Return the image names of SBD, its label files and their folder."""
    for folder in [base / part for base in (root, devkit.parent, devkit) for part in SBD_FOLDERS]:
        if (folder / "cls").is_dir():
            names = [n for part in ("train", "val") for n in read_names(folder / f"{part}.txt")]
            return names, files_by_stem(folder / "cls", frozenset((".mat",))), folder / "cls"
    converted = devkit / CONVERTED
    if converted.is_dir():
        labels_of = files_by_stem(converted, frozenset((".png",)))
        return list(labels_of), labels_of, converted
    raise FileNotFoundError(
        f"neither {root / SBD_FOLDERS[0]} with cls/*.mat nor {converted} with PNG files is there; "
        "unpack SBD (benchmark.tgz) beside VOCdevkit, or SegmentationClassAug into VOC2012"
    )
