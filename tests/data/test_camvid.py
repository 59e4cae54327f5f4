"""CamVid in both of its layouts, and on the real files where they are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.data import load_dataset

REAL = Path(__file__).parents[3] / "shared/data/camvid"


def write_pair(images, labels, name, values, size=(8, 6)):
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(images / f"{name}.png")
    array = np.resize(np.array(values, np.uint8), (size[1], size[0]))
    Image.fromarray(array).save(labels / f"{name}.png")


@pytest.fixture
def plain(tmp_path):
    for split, name in (("train", "a"), ("test", "b")):
        write_pair(tmp_path / "images", tmp_path / "labels", name, [0, 10, 255])
        (tmp_path / "splits").mkdir(exist_ok=True)
        (tmp_path / f"splits/{split}.txt").write_text(name + "\n")
    return tmp_path


@pytest.mark.parametrize(("split", "name"), [("train", "a"), ("test", "b")])
def test_any_split_of_the_plain_layout_is_read(plain, split, name):
    dataset = load_dataset("camvid", plain, split=split)
    sample = dataset[0]
    assert (len(dataset), sample.name, sample.image.shape) == (1, name, (6, 8, 3))
    assert set(np.unique(sample.labels)) == {0, 10, 255}
    assert dataset.label_set.names[8] == "car"


@pytest.mark.parametrize("has_listing", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_the_segnet_layout_turns_11_into_255(tmp_path, has_listing, nested):
    base = tmp_path / "CamVid" if nested else tmp_path
    write_pair(base / "val", base / "valannot", "s1", [0, 10, 11])
    if has_listing:
        line = "/SegNet/CamVid/val/s1.png /SegNet/CamVid/valannot/s1.png\n"
        (base / "val.txt").write_text(line)
    sample = load_dataset("camvid", tmp_path, split="val")[0]
    assert sample.name == "s1"
    assert set(np.unique(sample.labels)) == {0, 10, 255}


def test_a_missing_split_lists_those_that_exist(plain):
    with pytest.raises(FileNotFoundError, match=r"val.txt does not exist.*test, train"):
        load_dataset("camvid", plain, split="val")


def test_a_folder_in_neither_layout_says_what_is_needed(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither splits/train.txt.*trainannot"):
        load_dataset("camvid", tmp_path, split="train")


def test_a_missing_label_file_is_named(plain):
    (plain / "labels/a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 file\(s\).*labels/a"):
        load_dataset("camvid", plain, split="train")


def test_a_label_outside_the_classes_names_file_and_label(plain):
    write_pair(plain / "images", plain / "labels", "a", [0, 11, 12])
    with pytest.raises(ValueError, match=r"a.png holds the labels \[11, 12\].*classes 0-10"):
        load_dataset("camvid", plain, split="train")[0]


def test_labels_of_another_size_than_their_image_are_refused(plain):
    write_pair(plain / "elsewhere", plain / "labels", "a", [0], size=(5, 5))
    with pytest.raises(ValueError, match=r"a.png is 5x5 but a.png is 6x8"):
        load_dataset("camvid", plain, split="train")[0]


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data/camvid, which is not there")
def test_the_real_files_have_the_known_counts_and_sizes():
    train, val = (load_dataset("camvid", REAL, split=split) for split in ("train", "val"))
    assert (len(train), len(val)) == (367, 101)
    sample = val[0]
    assert sample.image.shape == (360, 480, 3)
    assert set(np.unique(sample.labels)) <= {*range(11), 255}


def test_a_slice_of_the_segnet_layout_still_turns_11_into_255(tmp_path):
    write_pair(tmp_path / "test", tmp_path / "testannot", "a", [0, 11])
    (sample,) = load_dataset("camvid", tmp_path, split="test")[:1]
    assert set(np.unique(sample.labels)) == {0, 255}
