"""Files for the servers of PASCAL VOC and Cityscapes."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atrous.data import list_photos
from atrous.data.street import CITYSCAPES, LABEL_IDS
from atrous.data.voc import VOC
from atrous.labels import LabelSet, voc_palette
from atrous.models import create_model
from atrous.predict import Segmenter
from atrous.preprocess import Preprocess
from atrous.submission import write_submission
from atrous.weights import Entry

from .data.trees import write_photo, write_text

SIZE_HW = (24, 33)
CITIES = ("berlin_000000_000019", "mainz_000001_000019")


def make_segmenter(label_set: LabelSet) -> Segmenter:
    torch.manual_seed(0)
    model = create_model("deeplabv2_efficientnet_lite0", label_set.num_classes, head="conv1x1")
    entry = Entry(
        name="drawn",
        options=model.options,
        label_set=label_set,
        preprocess=Preprocess(),
        licence="none",
        source="drawn at random",
    )
    return Segmenter((model.eval(), entry))


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Write the photos and the list of test; no label is there."""
    devkit = tmp_path / "voc/VOCdevkit/VOC2012"
    for seed, name in enumerate(("2008_000006", "2008_000011", "2008_000012")):
        write_photo(devkit / f"JPEGImages/{name}.jpg", size_hw=SIZE_HW, seed=seed)
    write_text(devkit / "ImageSets/Segmentation/test.txt", "2008_000011", "2008_000006")
    return tmp_path / "voc"


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    for seed, name in enumerate(CITIES):
        city = name.split("_")[0]
        path = tmp_path / f"cs/leftImg8bit/test/{city}/{name}_leftImg8bit.png"
        write_photo(path, size_hw=SIZE_HW, seed=seed)
    return tmp_path / "cs"


def test_voc_takes_palette_png_of_indices_in_a_tgz(voc: Path, tmp_path: Path) -> None:
    segmenter, heard = make_segmenter(VOC), []
    out = tmp_path / "out"
    archive = write_submission(
        segmenter, "voc2012", voc, out, progress=lambda done, total: heard.append((done, total))
    )
    assert archive == out / "results.tgz"
    assert heard == [(1, 2), (2, 2)]
    with tarfile.open(archive) as tar:
        inside = tar.getnames()
    folder = "results/VOC2012/Segmentation/comp6_test_cls"
    assert inside == [f"{folder}/2008_000011.png", f"{folder}/2008_000006.png"]
    for name in inside:
        with Image.open(out / name) as image:
            assert image.mode == "P"
            assert image.getpalette()[: 3 * 21] == [v for colour in voc_palette(21) for v in colour]
            labels = np.array(image)
        photo = voc / f"VOCdevkit/VOC2012/JPEGImages/{Path(name).stem}.jpg"
        np.testing.assert_array_equal(labels, segmenter(photo).labels)
        assert labels.shape == SIZE_HW


def test_cityscapes_takes_label_ids_in_a_flat_zip(cityscapes: Path, tmp_path: Path) -> None:
    segmenter, out = make_segmenter(CITYSCAPES), tmp_path / "out"
    archive = write_submission(segmenter, "cityscapes", cityscapes, out)
    assert archive == out / "cityscapes_test.zip"
    with zipfile.ZipFile(archive) as packed:
        assert packed.namelist() == [f"{name}_pred.png" for name in CITIES]
        for name in CITIES:
            assert packed.read(f"{name}_pred.png") == (out / f"{name}_pred.png").read_bytes()
    for name in CITIES:
        photo = next(cityscapes.rglob(f"{name}_leftImg8bit.png"))
        train_ids = segmenter(photo).labels
        with Image.open(out / f"{name}_pred.png") as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.array(image), np.array(LABEL_IDS)[train_ids])


def test_other_splits_and_a_second_run_are_packed_alone(voc: Path, tmp_path: Path) -> None:
    segmenter, out = make_segmenter(VOC), tmp_path / "out"
    write_text(voc / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", "2008_000012")
    write_submission(segmenter, "voc2012", voc, out)
    with tarfile.open(write_submission(segmenter, "voc2012", voc, out, split="val")) as tar:
        assert tar.getnames() == ["results/VOC2012/Segmentation/comp6_val_cls/2008_000012.png"]
    assert not list(out.rglob("*.partial"))


def test_data_sets_without_a_server_are_refused(voc: Path, tmp_path: Path) -> None:
    segmenter = make_segmenter(VOC)
    with pytest.raises(ValueError, match="camvid has no server .* voc2012, cityscapes"):
        write_submission(segmenter, "camvid", voc, tmp_path / "out")
    with pytest.raises(ValueError, match="no data set is called 'voc2021'; did you mean voc2012"):
        write_submission(segmenter, "voc2021", voc, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_of_other_classes_are_refused(voc: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the network's 19 classes .* not the 21 of voc2012"):
        write_submission(make_segmenter(CITYSCAPES), "voc2012", voc, tmp_path / "out")


def test_missing_lists_and_photos_say_what_to_unpack(voc: Path, cityscapes: Path) -> None:
    devkit = voc / "VOCdevkit/VOC2012"
    (devkit / "JPEGImages/2008_000006.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 image\(s\) of test.txt .* first 2008_000006"):
        list_photos("voc2012", voc, split="test")
    (devkit / "ImageSets/Segmentation/test.txt").unlink()
    with pytest.raises(FileNotFoundError, match="test.txt does not exist; unpack VOC2012test.tar"):
        list_photos("voc2012", voc, split="test")
    with pytest.raises(ValueError, match="voc2012 has no split 'tset'; did you mean test"):
        list_photos("voc2012", voc, split="tset")
    with pytest.raises(FileNotFoundError, match="leftImg8bit/val"):
        list_photos("cityscapes", cityscapes, split="val")
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        list_photos("cityscapes", cityscapes / "nowhere", split="val")
