"""Every data set in the layout in which its archives unpack."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atrous.data import DATASETS, load_dataset, usual_splits
from atrous.data.pascal_context import PASCAL_CONTEXT
from atrous.data.synthia import SYNTHIA_13, SYNTHIA_16
from atrous.image_io import read_image

from .layouts import (
    LAYOUTS,
    WRITERS,
    write_cityscapes,
    write_gta5,
    write_pascal_context,
    write_synthia,
    write_voc2012,
    write_voc2012_aug,
)
from .trees import label_map, mat_array, write_grey, write_mat, write_photo, write_text

REAL = Path(__file__).parents[3] / "shared/data/voc12_mini"


@pytest.mark.parametrize(("name", "write", "first", "classes", "labels"), LAYOUTS)
def test_the_official_layout_is_read(
    tmp_path: Path,
    name: str,
    write: Callable[[Path], None],
    first: str,
    classes: int,
    labels: list[int],
) -> None:
    write(tmp_path)
    for split in usual_splits(name):
        dataset = load_dataset(name, tmp_path, split=split)
        assert (dataset.name, dataset.split, dataset.label_set.num_classes) == (
            name,
            split,
            classes,
        )
        samples = list(dataset)
        assert samples[0].image.shape == (*samples[0].labels.shape, 3)
        assert dataset.label_set.ignore_index == 255
    dataset = load_dataset(name, tmp_path, split=usual_splits(name)[0])
    assert dataset[0].name == first
    assert np.unique(dataset[0].labels).tolist() == labels
    copy = pickle.loads(pickle.dumps(dataset))[:1]  # as workers and slices have it
    np.testing.assert_array_equal(copy[0].labels, dataset[0].labels)


def test_every_data_set_is_tested() -> None:
    assert {layout[0] for layout in LAYOUTS} | {"camvid", "folder"} == set(DATASETS)


@pytest.mark.parametrize("name", [layout[0] for layout in LAYOUTS])
def test_an_unknown_split_lists_the_near_or_all(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    known = usual_splits(name)[0]
    with pytest.raises(ValueError, match=f"{name} has no split '{known}s'; did you mean .*{known}"):
        load_dataset(name, tmp_path, split=f"{known}s")
    with pytest.raises(ValueError, match=f"{name} has no split 'xyz'; choose from .*{known}"):
        load_dataset(name, tmp_path, split="xyz")


@pytest.mark.parametrize("name", [layout[0] for layout in LAYOUTS])
def test_an_empty_folder_says_what_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_dataset(name, tmp_path, split=usual_splits(name)[0])


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("voc2012", "VOCdevkit/VOC2012/SegmentationClass/2007_000032.png"),
        ("voc2012_aug", "benchmark_RELEASE/dataset/cls/a1.mat"),
        ("pascal_context", "59_context_labels/2008_000002.png"),
        ("person_part", "pascal_person_part/pascal_person_part_gt/2008_000003.png"),
        ("cityscapes", "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"),
        ("coco_stuff10k", "annotations/COCO_train2014_000000000077.mat"),
        ("coco_stuff164k", "annotations/train2017/000000000009.png"),
        ("ade20k", "ADEChallengeData2016/annotations/training/ADE_train_00000001.png"),
        ("gta5", "labels/00001.png"),
        ("synthia", "RAND_CITYSCAPES/GT/LABELS/0000000.png"),
    ],
)
def test_a_missing_label_file_is_named(tmp_path: Path, name: str, lost: str) -> None:
    WRITERS[name](tmp_path)
    (tmp_path / lost).unlink()
    stem = Path(lost).stem.removesuffix("_gtFine_labelIds")
    with pytest.raises(FileNotFoundError, match=rf"1 file\(s\) .* missing, first .*{stem}"):
        load_dataset(name, tmp_path, split=usual_splits(name)[0])


@pytest.mark.parametrize(
    ("name", "spoilt"),
    [
        ("voc2012", "VOCdevkit/VOC2012/SegmentationClass/2007_000032.png"),
        ("voc2012_aug", "VOCdevkit/VOC2012/SegmentationClass/t1.png"),
        ("pascal_context", "59_context_labels/2008_000002.png"),
        ("person_part", "pascal_person_part/pascal_person_part_gt/2008_000003.png"),
        ("cityscapes", "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"),
        ("coco_stuff164k", "annotations/train2017/000000000009.png"),
        ("ade20k", "ADEChallengeData2016/annotations/training/ADE_train_00000001.png"),
        ("gta5", "labels/00001.png"),
    ],
)
def test_labels_saved_as_colours_are_to_be_taken_from_the_archive(
    tmp_path: Path, name: str, spoilt: str
) -> None:
    WRITERS[name](tmp_path)
    write_photo(tmp_path / spoilt)
    dataset = load_dataset(name, tmp_path, split=usual_splits(name)[0])
    with pytest.raises(ValueError, match="holds RGB .*; take the palette or grey PNG of the data"):
        list(dataset)


@pytest.mark.parametrize("given", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_any_folder_of_the_devkit_will_do(tmp_path: Path, given: str) -> None:
    write_voc2012(tmp_path)
    assert len(load_dataset("voc2012", tmp_path / given, split="trainval")) == 2


@pytest.mark.parametrize("layout", ["SBD", "PNG"])
def test_the_augmented_set_is_all_labels_but_those_of_val(tmp_path: Path, layout: str) -> None:
    write_voc2012_aug(tmp_path)
    if layout == "PNG":
        (tmp_path / "benchmark_RELEASE").rename(tmp_path / "elsewhere")
        for name in ("a1", "a2", "t1", "v1"):
            folder = tmp_path / "VOCdevkit/VOC2012/SegmentationClassAug"
            write_grey(folder / f"{name}.png", [0, 5, 20])
    train = load_dataset("voc2012_aug", tmp_path, split="train")
    assert [pair.name for pair in train.pairs] == ["a1", "a2", "t1"]
    assert np.unique(train[2].labels).tolist() == [0, 1, 20, 255], "t1 has labels of VOC's own"
    val = load_dataset("voc2012_aug", tmp_path, split="val")
    assert [pair.name for pair in val.pairs] == ["v1", "v2"]


def test_the_augmented_set_without_sbd_says_what_to_unpack(tmp_path: Path) -> None:
    write_voc2012(tmp_path)
    with pytest.raises(FileNotFoundError, match="unpack SBD .* or SegmentationClassAug into"):
        load_dataset("voc2012_aug", tmp_path, split="train")


def write_context_mat(root: Path) -> None:
    write_pascal_context(root)
    (root / "59_context_labels").rename(root / "elsewhere")
    # The authors' numbers, here: 1 accordion, 2 aeroplane, … in the spelling of labels.txt.
    names = ["accordion", *PASCAL_CONTEXT.names[1:]]
    names[names.index("pottedplant")] = "potted plant"
    write_text(root / "labels.txt", *(f"{i}: {name}" for i, name in enumerate(names, start=1)))
    for name in ("2008_000002", "2008_000003"):
        labels = label_map([1, 2, 12, 60]).astype(np.uint16)
        write_mat(root / f"trainval/{name}.mat", mat_array("LabelMap", labels))


def test_contexts_459_numbers_become_59_classes_by_name(tmp_path: Path) -> None:
    write_context_mat(tmp_path)
    sample = load_dataset("pascal_context", tmp_path, split="val")[0]
    assert sample.labels.ravel()[:4].tolist() == [0, 1, 11, 59]


def test_another_list_of_names_is_refused(tmp_path: Path) -> None:
    write_context_mat(tmp_path)
    write_text(tmp_path / "labels.txt", "1: accordion", "2: aeroplane")
    with pytest.raises(ValueError, match=r"labels.txt lacks bicycle.*take the labels.txt of PASC"):
        load_dataset("pascal_context", tmp_path, split="val")
    write_text(tmp_path / "labels.txt", "accordion")
    with pytest.raises(ValueError, match=r"labels.txt holds no lines such as `12: dog`"):
        load_dataset("pascal_context", tmp_path, split="val")


def test_contexts_classes_in_another_order_are_refused(tmp_path: Path) -> None:
    write_pascal_context(tmp_path)
    write_text(tmp_path / "59_labels.txt", "1: aeroplane", "2: bicycle", "11: diningtable")
    assert load_dataset("pascal_context", tmp_path, split="val")
    write_text(tmp_path / "59_labels.txt", "1: aeroplane", "2: bag")
    with pytest.raises(ValueError, match="names class 2 'bag', but it must be 'bicycle'"):
        load_dataset("pascal_context", tmp_path, split="val")


def test_gta5_has_its_authors_splits_and_everything(tmp_path: Path) -> None:
    write_gta5(tmp_path)
    names = {
        s: [p.name for p in load_dataset("gta5", tmp_path, split=s).pairs] for s in ("train", "all")
    }
    assert names == {"train": ["00001", "00003"], "all": ["00001", "00002", "00003"]}
    (tmp_path / "split.mat").unlink()
    with pytest.raises(FileNotFoundError, match="split.mat does not exist; .* take the split all"):
        load_dataset("gta5", tmp_path, split="val")
    write_text(tmp_path / "splits/val.txt", "00002")
    assert len(load_dataset("gta5", tmp_path, split="val")) == 1


def test_synthia_takes_lists_of_ones_own(tmp_path: Path) -> None:
    write_synthia(tmp_path)
    write_text(tmp_path / "RAND_CITYSCAPES/splits/train.txt", "0000000")
    assert len(load_dataset("synthia", tmp_path, split="train")) == 1


def test_synthias_class_sets_are_nested() -> None:
    assert (len(SYNTHIA_16), len(SYNTHIA_13)) == (16, 13)
    assert set(SYNTHIA_16) - set(SYNTHIA_13) == {3, 4, 5}


def test_labels_outside_a_files_numbers_are_named(tmp_path: Path) -> None:
    write_cityscapes(tmp_path)
    stem = "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    write_grey(tmp_path / stem, [0, 40, 255])
    with pytest.raises(ValueError, match=r"labelIds.png holds the labels \[40, 255\].*hold 0-33"):
        load_dataset("cityscapes", tmp_path, split="train")[0]


def test_synthias_8_bit_files_are_refused(tmp_path: Path) -> None:
    write_synthia(tmp_path)
    path = tmp_path / "RAND_CITYSCAPES/GT/LABELS/0000000.png"
    write_photo(path)
    with pytest.raises(ValueError, match="0000000.png is not a PNG of 16-bit RGB"):
        load_dataset("synthia", tmp_path, split="all")[0]
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="0000000.png is damaged or cut short"):
        load_dataset("synthia", tmp_path, split="all")[0]


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/voc12_mini is not there")
def test_real_voc_files_are_read(tmp_path: Path) -> None:
    devkit = tmp_path / "VOCdevkit/VOC2012"
    (devkit / "ImageSets/Segmentation").mkdir(parents=True)
    (devkit / "ImageSets/Segmentation/val.txt").write_text((REAL / "splits/val.txt").read_text())
    (devkit / "JPEGImages").symlink_to(REAL / "images")
    (devkit / "SegmentationClass").symlink_to(REAL / "labels")
    dataset = load_dataset("voc2012", tmp_path, split="val")
    assert len(dataset) == 6
    for sample in dataset:
        classes = set(np.unique(sample.labels).tolist())
        assert 255 in classes
        assert classes - {255} <= set(range(21))
        # The colours of the file's palette are those of our label set.
        pair = next(pair for pair in dataset.pairs if pair.name == sample.name)
        known = sample.labels != 255
        colours = np.array(dataset.label_set.palette)[np.where(known, sample.labels, 0)]
        np.testing.assert_array_equal(read_image(pair.labels)[known], colours[known])
