"""Anybody's own folder of images and masks."""

import numpy as np
import pytest
from PIL import Image

from atrous.data import load_dataset


@pytest.fixture
def root(tmp_path):
    for folder in ("images", "labels", "splits"):
        (tmp_path / folder).mkdir()
    for index, name in enumerate(("cat.one", "dog")):
        Image.new("RGB", (7, 5)).save(tmp_path / f"images/{name}.jpg")
        labels = np.full((5, 7), index * 2, np.uint8)
        labels[0] = 255
        Image.fromarray(labels).save(tmp_path / f"labels/{name}.png")
    (tmp_path / "splits/train.txt").write_text("cat.one\ndog\n")
    return tmp_path


def test_class_names_come_from_classes_txt(root):
    (root / "classes.txt").write_text("background\nfur\ntail\n")
    dataset = load_dataset("folder", root, split="train")
    assert dataset.label_set.names == ("background", "fur", "tail")
    assert [sample.name for sample in dataset] == ["cat.one", "dog"]


def test_class_names_may_begin_with_the_mark_of_windows_editors(root):
    (root / "classes.txt").write_text("background\nfur\ntail\n", encoding="utf-8-sig")
    assert load_dataset("folder", root, split="train").label_set.names[0] == "background"


def test_without_classes_txt_classes_are_counted_from_the_labels(root):
    assert load_dataset("folder", root, split="train").label_set.names == ("0", "1", "2")


def test_another_split_has_the_classes_of_train(root):
    Image.new("RGB", (7, 5)).save(root / "images/bird.jpg")
    Image.fromarray(np.full((5, 7), 1, np.uint8)).save(root / "labels/bird.png")
    (root / "splits/val.txt").write_text("bird\n")
    assert load_dataset("folder", root, split="val").label_set.num_classes == 3


def test_a_slice_is_a_smaller_data_set(root):
    part = load_dataset("folder", root, split="train")[1:]
    assert [sample.name for sample in part] == ["dog"]
    assert part.label_set.num_classes == 3


def test_an_empty_split_is_refused(root):
    (root / "splits/empty.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"empty.txt is empty"):
        load_dataset("folder", root, split="empty")


def test_an_empty_class_list_is_refused(root):
    (root / "classes.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"classes.txt is empty"):
        load_dataset("folder", root, split="train")


def test_missing_folders_are_named(root, tmp_path):
    (root / "labels").rename(root / "masks")
    with pytest.raises(FileNotFoundError, match=r"labels is not a folder"):
        load_dataset("folder", root, split="train")
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder"):
        load_dataset("folder", tmp_path / "nowhere", split="train")


def test_an_unknown_data_set_lists_near_names(root):
    with pytest.raises(ValueError, match=r"'camvidd'; did you mean camvid"):
        load_dataset("camvidd", root, split="train")


def test_names_in_a_split_may_hold_spaces_and_the_file_windows_mark(root):
    (root / "images/dog.jpg").rename(root / "images/my photo.jpg")
    (root / "labels/dog.png").rename(root / "labels/my photo.png")
    (root / "splits/train.txt").write_text("cat.one\nmy photo\n")
    (root / "splits/odd.txt").write_text("\ufeffmy photo\r\n\r\n", encoding="utf-8")
    dataset = load_dataset("folder", root, split="odd")
    assert [sample.name for sample in dataset] == ["my photo"]


def test_two_files_of_one_name_are_refused(root):
    first = next((root / "images").iterdir())
    first.with_suffix(".webp").write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match="names must differ by more than the suffix"):
        load_dataset("folder", root, split="train")
