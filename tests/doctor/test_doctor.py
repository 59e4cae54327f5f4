"""Each defect is found, told apart from the others, and comes with a remedy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.doctor import Examination, Finding, examine, judge, write_page
from atrous.doctor.examination import spread
from atrous.doctor.findings import Level
from atrous.doctor.page import describe_sizes, verdict

from ..data.test_duplicates import picture

REAL = Path(__file__).parents[3] / "shared/data/camvid"
SIZE_HW = (330, 340)


def write_pair(root: Path, name: str, labels: np.ndarray, *, seed: int) -> None:
    Image.fromarray(picture(seed, SIZE_HW)).save(root / f"images/{name}.jpg")
    Image.fromarray(labels.astype(np.uint8)).save(root / f"labels/{name}.png")


def stripes(*classes: int) -> np.ndarray:
    """Divide the picture into columns of these classes, with a void one at the edge."""
    labels = np.repeat(np.array(classes, np.uint8), -(-SIZE_HW[1] // len(classes)))
    labels = np.tile(labels[: SIZE_HW[1]], (SIZE_HW[0], 1))
    labels[:, -1] = 255
    return labels


def list_split(root: Path, split: str, *names: str) -> None:
    (root / f"splits/{split}.txt").write_text("\n".join(names))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small data set without a fault: three classes, five images to train and two to score."""
    for folder in ("images", "labels", "splits"):
        (tmp_path / folder).mkdir()
    (tmp_path / "classes.txt").write_text("sky\nroad\ntree")
    for seed in range(7):
        write_pair(tmp_path, f"p{seed}", stripes(0, 1, 2), seed=seed)
    list_split(tmp_path, "train", "p0", "p1", "p2", "p3", "p4")
    list_split(tmp_path, "val", "p5", "p6")
    return tmp_path


def diagnose(
    root: Path, dataset: str = "folder", *, most: int | None = None
) -> tuple[Examination, list[Finding]]:
    examination = examine(dataset, root, splits=("train", "val"), most=most)
    findings = judge(examination)
    assert all(finding.remedy for finding in findings)
    return examination, findings


def only(findings: list[Finding], level: Level) -> Finding:
    assert len(findings) == 1, findings
    assert findings[0].level is level
    return findings[0]


def test_sound_data_has_no_finding(root: Path) -> None:
    examination, findings = diagnose(root)
    assert not findings
    train, val = examination.splits
    assert (len(train.examined), len(val.examined)) == (5, 2)
    assert train.images.tolist() == [5, 5, 5]
    assert train.pixels.sum() + train.void_pixels == 5 * SIZE_HW[0] * SIZE_HW[1]
    assert train.void_share == pytest.approx(1 / SIZE_HW[1])
    assert verdict(findings) == "This data will train."


def test_missing_files_are_listed(root: Path) -> None:
    (root / "labels/p1.png").unlink()
    (root / "images/p2.jpg").unlink()
    finding = only(diagnose(root)[1], Level.BREAKS)
    assert "train cannot be opened: 2 file(s) of the split are missing" in finding.text
    assert [Path(line).stem for line in finding.details] == ["p2", "p1"]


def test_a_missing_list_is_told(root: Path) -> None:
    (root / "splits/val.txt").unlink()
    finding = only(diagnose(root)[1], Level.BREAKS)
    assert re.search(
        r"val cannot be opened: .*val.txt does not exist; splits there: train", finding.text
    )


def cut_image(root: Path) -> None:
    path = root / "images/p1.jpg"
    path.write_bytes(path.read_bytes()[:400])


def shrink_labels(root: Path) -> None:
    Image.fromarray(stripes(0, 1)[::2, ::2]).save(root / "labels/p1.png")


def colour_labels(root: Path) -> None:
    Image.fromarray(stripes(0, 1)).convert("RGB").save(root / "labels/p1.png")


def count_from_one(root: Path) -> None:
    write_pair(root, "p1", stripes(1, 2, 3), seed=1)


def test_coloured_masks_without_a_list_of_classes_are_counted(root: Path) -> None:
    (root / "classes.txt").unlink()
    colour_labels(root)
    for finding in diagnose(root)[1]:
        assert finding.level is Level.BREAKS
        assert "cannot be opened: 1 of 5 label files cannot be read" in finding.text
        assert "p1.png holds RGB pixels, not class indices" in finding.text
        assert finding.remedy.startswith("Fix this, then run doctor again")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (cut_image, "p1.jpg is damaged or cut short"),
        (shrink_labels, r"p1.png is 170x165 \(width x height\) but p1.jpg is 340x330"),
        (colour_labels, "p1.png holds RGB pixels, not class indices"),
        (count_from_one, r"p1.png holds the labels \[3\], but folder has classes 0-2"),
    ],
)
def test_pairs_that_cannot_be_used_are_named_with_their_fault(root: Path, spoil, says) -> None:
    spoil(root)
    examination, findings = diagnose(root)
    finding = only(findings, Level.BREAKS)
    assert finding.text == "1 pair(s) of train cannot be used."
    assert re.search(f"^p1: .*{says}", finding.details[0])
    assert len(examination.splits[0].examined) == 4


def test_a_name_listed_twice_lowers_scores(root: Path) -> None:
    list_split(root, "train", "p0", "p1.jpg", "p2", "p1", "p1.png")
    finding = only(diagnose(root)[1], Level.WARNING)
    assert finding.text == "1 name(s) occur more than once in the list of train."
    assert finding.details == ("p1: 3 times",)


def test_two_classes_of_one_name_lower_scores(root: Path) -> None:
    (root / "classes.txt").write_text("sky\nroad\nsky")
    finding = only(diagnose(root)[1], Level.WARNING)
    assert finding.text == "1 name(s) stand for several classes: sky."


def write_with_palette(root: Path, name: str, order: list[int], colours: list[int]) -> None:
    """Write a mask with its classes in another order, as programs do that make files smaller."""
    image = Image.fromarray(np.array(order, np.uint8)[stripes(0, 1, 2) % 253], "P")
    image.putpalette(colours)
    image.save(root / f"labels/{name}.png")


def test_palettes_in_another_order_lower_scores(root: Path) -> None:
    sky, road, tree = [9, 9, 200], [128, 64, 128], [0, 128, 0]
    for seed in range(7):
        write_with_palette(root, f"p{seed}", [0, 1, 2], sky + road + tree)
    assert not diagnose(root)[1]
    write_with_palette(root, "p6", [1, 0, 2], road + sky + tree)
    finding = only(diagnose(root)[1], Level.WARNING)
    text = "2 class(es) have different colours in the palettes of different masks."
    assert finding.text == text
    assert finding.details[0] == "sky: (9, 9, 200) in p0, (128, 64, 128) in p6"
    (root / "classes.txt").write_text("sky 9 9 200\nroad 128 64 128\ntree 0 128 0")
    assert not diagnose(root)[1]


def test_classes_that_training_never_shows_lower_scores(root: Path) -> None:
    for seed in range(5):
        write_pair(root, f"p{seed}", stripes(0, 1), seed=seed)
    finding = only(diagnose(root)[1], Level.WARNING)
    assert finding.text == "val holds classes that never occur in train: tree."


def test_classes_that_are_nowhere_are_noted(root: Path) -> None:
    (root / "classes.txt").write_text("sky\nroad\ntree\nsea\nhill")
    finding = only(diagnose(root)[1], Level.NOTE)
    assert finding.text == "2 of 5 classes never occur: sea, hill."


def test_rare_classes_are_noted_with_their_share(root: Path) -> None:
    for seed in range(5):
        labels = stripes(0, 1)
        labels[:5, :5] = 2
        write_pair(root, f"p{seed}", labels, seed=seed)
    finding = only(diagnose(root)[1], Level.NOTE)
    assert finding.text == ("Rare in train, below 0.1 % of the known pixels: tree (0.022 %).")


def test_a_single_class_breaks_training(root: Path) -> None:
    for seed in range(7):
        write_pair(root, f"p{seed}", stripes(1), seed=seed)
    finding = only(diagnose(root)[1], Level.BREAKS)
    assert finding.text == "The labels of train hold a single class: road."


def test_label_maps_of_one_class_each_are_suspicious(root: Path) -> None:
    for seed in range(5):
        write_pair(root, f"p{seed}", stripes(seed % 3), seed=seed)
    finding = only(diagnose(root)[1], Level.WARNING)
    assert finding.text == "5 of 5 label maps hold only one class."


def test_a_split_of_void_breaks_training(root: Path) -> None:
    for seed in (5, 6):
        write_pair(root, f"p{seed}", stripes(255), seed=seed)
    finding = only(diagnose(root)[1], Level.BREAKS)
    assert finding.text == "No pixel of val has a class: all labels are void."


def test_void_images_and_a_large_share_of_void_lower_scores(root: Path) -> None:
    for seed in (0, 1):
        write_pair(root, f"p{seed}", stripes(255), seed=seed)
    images, share = diagnose(root)[1]
    assert images.text == "2 image(s) of train hold only void."
    assert images.details == ("p0", "p1")
    assert share.text == "40 % of train's pixels are void."
    assert {images.level, share.level} == {Level.WARNING}


def test_an_image_in_both_splits_breaks_training(root: Path) -> None:
    list_split(root, "val", "p5", "p0")
    finding = only(diagnose(root)[1], Level.BREAKS)
    assert finding.text == "1 name(s) are in both train and val."
    assert finding.details == ("p0",)


def test_near_duplicates_across_splits_are_a_leak(root: Path) -> None:
    Image.open(root / "images/p3.jpg").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
        root / "images/p6.jpg", quality=60
    )
    finding = only(diagnose(root)[1], Level.WARNING)
    assert finding.text == "1 image(s) of val look almost like an image of train."
    assert finding.details == ("p3 (train) and p6 (val), mirrored",)


def test_small_images_are_noted(root: Path) -> None:
    Image.fromarray(picture(0, (100, 90))).save(root / "images/p0.jpg")
    Image.fromarray(np.resize([0, 1], (100, 90)).astype(np.uint8)).save(root / "labels/p0.png")
    examination, findings = diagnose(root)
    finding = only(findings, Level.NOTE)
    assert finding.text == "1 image(s) of train are smaller than a crop of 321."
    assert describe_sizes(examination.splits[0]) == "90x100 to 340x330, median 340x330"


def test_voc_labels_without_void_are_suspicious(tmp_path: Path) -> None:
    devkit = tmp_path / "VOCdevkit/VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (devkit / folder).mkdir(parents=True)
    for seed, split in enumerate(("train", "val")):
        (devkit / f"ImageSets/Segmentation/{split}.txt").write_text(f"p{seed}")
        Image.fromarray(picture(seed, SIZE_HW)).save(devkit / f"JPEGImages/p{seed}.jpg")
        labels = stripes(*range(21))
        labels[labels == 255] = 0
        labels[:9] = 20
        Image.fromarray(labels).save(devkit / f"SegmentationClass/p{seed}.png")
    findings = diagnose(tmp_path, "voc2012")[1]
    assert [finding.text for finding in findings] == [
        f"{split} has no void pixel, but VOC outlines every object with 255."
        for split in ("train", "val")
    ]


def test_the_worst_comes_first(root: Path) -> None:
    (root / "classes.txt").write_text("sky\nroad\ntree\nsea")
    cut_image(root)
    write_pair(root, "p0", stripes(255), seed=0)
    levels = [finding.level for finding in diagnose(root)[1]]
    assert levels == [Level.BREAKS, Level.WARNING, Level.NOTE]


def test_a_part_can_be_examined(root: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    examination = examine(
        "folder", root, splits=("train",), most=2, progress=lambda *call: calls.append(call)
    )
    assert examination.splits[0].examined == ["p0", "p4"]
    assert calls == [("train", 1, 2), ("train", 2, 2)]


def test_classes_that_a_part_of_train_lacks_are_noted(root: Path) -> None:
    for seed in (0, 4):  # the two that are read
        write_pair(root, f"p{seed}", stripes(0, 1), seed=seed)
    findings = diagnose(root, most=2)[1]
    finding = only(findings, Level.NOTE)
    assert finding.text == (
        "val holds classes that never occur in train in the 2 of 5 images read: tree."
    )
    assert finding.remedy.startswith("Leave out --images to be sure.")
    assert verdict(findings) == "This data will train."


def test_classes_that_all_of_train_lacks_lower_scores_in_a_part_of_val(root: Path) -> None:
    for seed in range(5):
        write_pair(root, f"p{seed}", stripes(0, 1), seed=seed)
    list_split(root, "val", *(f"v{seed}" for seed in range(6)))
    for seed in range(6):
        write_pair(root, f"v{seed}", stripes(0, 1, 2), seed=10 + seed)
    finding = only(diagnose(root, most=5)[1], Level.WARNING)
    assert finding.text == "val holds classes that never occur in train: tree."


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        (1, 1, "The labels of train hold a single class in the 2 of 5 images read: road."),
        (0, 1, "2 of 2 label maps hold only one class in the 2 of 5 images read."),
        (255, 255, "No pixel of train has a class in the 2 of 5 images read: all labels are void."),
    ],
)
def test_what_a_part_of_the_label_maps_shows_is_noted(
    root: Path, first: int, last: int, text: str
) -> None:
    write_pair(root, "p0", stripes(first), seed=0)
    write_pair(root, "p4", stripes(last), seed=4)
    findings = diagnose(root, most=2)[1]
    assert text in [finding.text for finding in findings if finding.level is Level.NOTE]
    assert not any(finding.level is Level.BREAKS for finding in findings)


def test_a_share_of_void_in_a_part_is_noted(root: Path) -> None:
    for seed in range(7):
        labels = stripes(0, 1, 2)
        labels[:150] = 255
        write_pair(root, f"p{seed}", labels, seed=seed)
    texts = {finding.text: finding.level for finding in diagnose(root, most=2)[1]}
    assert texts == {
        "46 % of train's pixels are void in the 2 of 5 images read.": Level.NOTE,
        "46 % of val's pixels are void.": Level.WARNING,
    }


def test_classes_that_no_image_read_shows_are_counted_over_all_splits(root: Path) -> None:
    (root / "classes.txt").write_text("sky\nroad\ntree\nsea\nhill")
    finding = only(diagnose(root, most=2)[1], Level.NOTE)
    assert finding.text == "2 of 5 classes never occur in the 4 of 7 images read: sea, hill."


@pytest.mark.parametrize(
    ("length", "most", "places"),
    [(5, 9, [0, 1, 2, 3, 4]), (10, 2, [0, 9]), (10, 1, [0]), (0, 3, [])],
)
def test_places_are_spread_evenly(length: int, most: int, places: list[int]) -> None:
    assert spread(length, most) == places


@pytest.mark.parametrize(
    ("name", "most", "error", "says"),
    [
        ("foldr", None, ValueError, "no data set is called 'foldr'; did you mean folder"),
        ("folder", 0, ValueError, "0 pairs cannot be examined"),
        ("synthia", None, FileNotFoundError, "nowhere is not a folder"),
    ],
)
def test_wrong_questions_are_errors(root: Path, name, most, error, says) -> None:
    place = root / "nowhere" if name == "synthia" else root
    with pytest.raises(error, match=says):
        examine(name, place, splits=("train",), most=most)


def test_the_page_stands_alone_and_holds_everything(root: Path, tmp_path: Path) -> None:
    (root / "classes.txt").write_text("sky\nroad <b>\ntree")
    cut_image(root)
    examination, findings = diagnose(root)
    write_page(tmp_path / "a.html", examination, findings)
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "1 pair(s) of train cannot be used." in page
    assert "p1.jpg is damaged or cut short" in page
    assert "1 road &lt;b&gt;" in page
    assert page.count('src="data:image/jpeg;base64,') == 4 + 2
    assert not re.search(r'(src|href)="(?!data:)', page)
    with pytest.raises(OSError, match="is not a folder; create it first"):
        write_page(tmp_path / "no/a.html", examination, findings)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/camvid is not there")
def test_camvid_will_train() -> None:
    examination, findings = diagnose(REAL, "camvid")
    assert [len(split.examined) for split in examination.splits] == [367, 101]
    assert not findings
