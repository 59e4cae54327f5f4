"""Scores under the official label conventions: what counts and what does not, on small trees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from atrous.data import load_dataset
from atrous.evaluation import evaluate
from atrous.labels import LabelSet
from atrous.models import create_model
from atrous.predict import Segmenter
from atrous.preprocess import Preprocess
from atrous.weights import Entry

from .data.trees import label_map, write_grey, write_mat, write_palette, write_photo, write_text
from .data.trees import mat_array as mat


def constant(label_set: LabelSet, label: int) -> Segmenter:
    """A real network that says `label` everywhere."""
    model = create_model("deeplabv2_efficientnet_lite0", label_set.num_classes, head="conv1x1")
    with torch.no_grad():
        classifier = model.head.branches[0]
        classifier.weight.zero_()
        classifier.bias.zero_()
        classifier.bias[label] = 1
    entry = Entry(
        name="constant",
        options=model.options,
        label_set=label_set,
        preprocess=Preprocess(),
        licence="none",
        source="made for the test",
    )
    return Segmenter((model.eval(), entry))


def write_voc(root: Path) -> tuple[str, str, list[int]]:
    devkit = root / "VOCdevkit/VOC2012"
    write_photo(devkit / "JPEGImages/a.jpg")
    write_palette(devkit / "SegmentationClass/a.png", [0, 20, 255, 20, 15])
    write_text(devkit / "ImageSets/Segmentation/val.txt", "a")
    return "voc2012", "val", [0, 20, 255, 20, 15]


def write_cityscapes(root: Path) -> tuple[str, str, list[int]]:
    name = "ulm_000001_000019"
    write_photo(root / f"leftImg8bit/val/ulm/{name}_leftImg8bit.png")
    # 0 unlabeled, 6 ground, 7 road, 26 car, 29 caravan, 33 bicycle
    write_grey(root / f"gtFine/val/ulm/{name}_gtFine_labelIds.png", [0, 6, 7, 26, 29, 33])
    return "cityscapes", "val", [255, 255, 0, 13, 255, 18]


def write_stuff10k(root: Path) -> tuple[str, str, list[int]]:
    write_photo(root / "images/a.jpg")
    write_mat(root / "annotations/a.mat", mat("S", label_map([0, 1, 182, 182]).astype(np.uint16)))
    write_text(root / "imageLists/test.txt", "a")
    return "coco_stuff10k", "test", [255, 0, 181, 181]


def write_stuff164k(root: Path) -> tuple[str, str, list[int]]:
    write_photo(root / "images/val2017/a.jpg")
    write_grey(root / "stuffthingmaps/val2017/a.png", [0, 255, 181, 92])
    return "coco_stuff164k", "val", [0, 255, 181, 92]


@pytest.mark.parametrize("write", [write_voc, write_cityscapes, write_stuff10k, write_stuff164k])
def test_unknown_pixels_do_not_count_and_classes_stand_at_their_places(
    tmp_path: Path, write: Callable[[Path], tuple[str, str, list[int]]]
) -> None:
    name, split, classes = write(tmp_path)
    dataset = load_dataset(name, tmp_path, split=split)
    expected = label_map(classes)
    said = next(label for label in reversed(classes) if label != 255)
    report = evaluate(constant(dataset.label_set, said), dataset)
    known = expected[expected != 255]
    assert report.confusion.sum() == known.size < expected.size
    for label in set(known.tolist()):
        assert report.confusion[label, said] == (known == label).sum()
    assert report.iou[said] == pytest.approx((known == said).mean())
    # Classes that are neither in the truth nor said are not in the mean.
    assert report.miou == pytest.approx((known == said).mean() / len(set(known.tolist())))
