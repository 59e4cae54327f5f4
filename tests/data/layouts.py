"""Each data set as a tiny tree in the layout in which its archives unpack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .trees import (
    label_map,
    mat_array,
    write_grey,
    write_mat,
    write_palette,
    write_photo,
    write_red_16bit,
    write_sbd,
    write_text,
)


def write_voc2012(root: Path) -> None:
    devkit = root / "VOCdevkit/VOC2012"
    for name, split in (("2007_000032", "train"), ("2007_000033", "val")):
        write_photo(devkit / f"JPEGImages/{name}.jpg")
        write_palette(devkit / f"SegmentationClass/{name}.png", [0, 1, 20, 255])
        write_text(devkit / f"ImageSets/Segmentation/{split}.txt", name)
    write_text(devkit / "ImageSets/Segmentation/trainval.txt", "2007_000032", "2007_000033")


def write_voc2012_aug(root: Path) -> None:
    """VOC has t1 to train and v1, v2 to score; SBD has a1, a2, t1 and, as in truth, v1."""
    devkit, sbd = root / "VOCdevkit/VOC2012", root / "benchmark_RELEASE/dataset"
    for name in ("a1", "a2", "t1", "v1", "v2"):
        write_photo(devkit / f"JPEGImages/{name}.jpg")
    for name in ("t1", "v1", "v2"):
        write_palette(devkit / f"SegmentationClass/{name}.png", [0, 1, 20, 255])
    for name in ("a1", "a2", "t1", "v1"):
        write_sbd(sbd / f"cls/{name}.mat", [0, 5, 20])
    write_text(devkit / "ImageSets/Segmentation/train.txt", "t1")
    write_text(devkit / "ImageSets/Segmentation/val.txt", "v1", "v2")
    write_text(sbd / "train.txt", "a1", "v1")
    write_text(sbd / "val.txt", "a2", "t1")


def write_pascal_context(root: Path) -> None:
    devkit = root / "VOCdevkit/VOC2010"
    for name, split in (("2008_000002", "train"), ("2008_000003", "val")):
        write_photo(devkit / f"JPEGImages/{name}.jpg")
        write_palette(root / f"59_context_labels/{name}.png", [0, 11, 59])
        write_text(devkit / f"ImageSets/Main/{split}.txt", name)


def write_person_part(root: Path) -> None:
    part = root / "pascal_person_part"
    for name, split in (("2008_000003", "train"), ("2008_000008", "val")):
        write_photo(root / f"VOCdevkit/VOC2010/JPEGImages/{name}.jpg")
        write_palette(part / f"pascal_person_part_gt/{name}.png", [0, 1, 6])
        line = f"/JPEGImages/{name}.jpg /SegmentationPart/{name}.png"
        write_text(part / f"pascal_person_part_trainval_list/{split}.txt", line)
    write_text(part / "pascal_person_part_trainval_list/train_id.txt", "2008_000003")


def write_cityscapes(root: Path) -> None:
    for split, stem in (("train", "aachen_000000_000019"), ("val", "munster_000001_000019")):
        city = f"{split}/{stem.split('_')[0]}/{stem}"
        write_photo(root / f"leftImg8bit/{city}_leftImg8bit.png")
        write_grey(root / f"gtFine/{city}_gtFine_labelIds.png", [0, 7, 33, 29])
        write_photo(root / f"gtFine/{city}_gtFine_color.png")


def write_coco_stuff10k(root: Path) -> None:
    for name, split in (("COCO_train2014_000000000077", "train"), ("COCO_x_1", "test")):
        write_photo(root / f"images/{name}.jpg")
        labels = label_map([0, 1, 182]).astype(np.uint16)
        write_mat(root / f"annotations/{name}.mat", mat_array("S", labels))
        write_text(root / f"imageLists/{split}.txt", name)


def write_coco_stuff164k(root: Path) -> None:
    for name, folder in (("000000000009", "train2017"), ("000000000139", "val2017")):
        write_photo(root / f"images/{folder}/{name}.jpg")
        write_grey(root / f"annotations/{folder}/{name}.png", [0, 181, 255])


def write_ade20k(root: Path) -> None:
    base = root / "ADEChallengeData2016"
    for folder, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        write_photo(base / f"images/{folder}/{name}.jpg")
        write_grey(base / f"annotations/{folder}/{name}.png", [0, 1, 150])


def write_camvid(root: Path) -> None:
    for name, split in (("0001TP_006690", "train"), ("0016E5_07959", "val")):
        write_photo(root / f"{split}/{name}.png")
        write_grey(root / f"{split}annot/{name}.png", [0, 10, 11])


def write_gta5(root: Path) -> None:
    for number in (1, 2, 3):
        write_photo(root / f"images/{number:05d}.png")
        write_palette(root / f"labels/{number:05d}.png", [0, 7, 33, 34])
    ids = {"trainIds": [1, 3], "valIds": [2], "testIds": [2]}
    arrays = [mat_array(name, np.array([ids[name]], float).T) for name in ids]
    write_mat(root / "split.mat", *arrays)


def write_synthia(root: Path) -> None:
    write_photo(root / "RAND_CITYSCAPES/RGB/0000000.png")
    write_red_16bit(root / "RAND_CITYSCAPES/GT/LABELS/0000000.png", [0, 3, 11, 22])


LAYOUTS: list[tuple[str, Callable[[Path], None], str, int, list[int]]] = [
    ("voc2012", write_voc2012, "2007_000032", 21, [0, 1, 20, 255]),
    ("voc2012_aug", write_voc2012_aug, "a1", 21, [0, 5, 20]),
    ("pascal_context", write_pascal_context, "2008_000002", 60, [0, 11, 59]),
    ("person_part", write_person_part, "2008_000003", 7, [0, 1, 6]),
    ("cityscapes", write_cityscapes, "aachen_000000_000019", 19, [0, 18, 255]),
    ("coco_stuff10k", write_coco_stuff10k, "COCO_train2014_000000000077", 182, [0, 181, 255]),
    ("coco_stuff164k", write_coco_stuff164k, "000000000009", 182, [0, 181, 255]),
    ("ade20k", write_ade20k, "ADE_train_00000001", 150, [0, 149, 255]),
    ("gta5", write_gta5, "00001", 19, [0, 18, 255]),
    ("synthia", write_synthia, "0000000", 19, [0, 18, 255]),
]
WRITERS = {layout[0]: layout[1] for layout in LAYOUTS}
