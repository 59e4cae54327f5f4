"""Label sets: what they promise, and what they refuse."""

from __future__ import annotations

import pytest

from atrous.labels import LabelSet, voc_palette

# The first 21 colours of PASCAL VOC's development kit (background, aeroplane … tv/monitor).
VOC = (
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128),
    (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128),
    (192, 0, 128), (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0),
    (128, 192, 0), (0, 64, 128),
)  # fmt: skip


def test_voc_palette_is_the_development_kits() -> None:
    assert voc_palette(21) == VOC
    assert voc_palette(256)[255] == (224, 224, 192)


def test_voc_palette_repeats_no_colour() -> None:
    assert len(set(voc_palette(256))) == 256


def test_classes_are_counted_and_ignored_by_255() -> None:
    label_set = LabelSet(("sky", "road"), voc_palette(2))
    assert label_set.num_classes == 2
    assert label_set.ignore_index == 255


def test_equal_label_sets_are_equal_and_hashable() -> None:
    one, other = (LabelSet(("sky", "road"), voc_palette(2)) for _ in range(2))
    assert one == other
    assert len({one, other}) == 1


def test_256_classes_ignore_nothing_or_a_higher_index() -> None:
    names = tuple(map(str, range(256)))
    assert LabelSet(names, voc_palette(256), None).ignore_index is None
    assert LabelSet(names, voc_palette(256), 65535).ignore_index == 65535
    with pytest.raises(ValueError, match="ignore_index is 255, but classes are 0-255"):
        LabelSet(names, voc_palette(256))


@pytest.mark.parametrize("index", [0, 1, -1, 65536])
def test_ignored_index_that_is_a_class_or_no_label_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=f"ignore_index is {index}, but"):
        LabelSet(("sky", "road"), voc_palette(2), index)


def test_label_set_without_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one class name"):
        LabelSet((), ())


def test_names_and_colours_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 class names but 3 colours"):
        LabelSet(("sky", "road"), voc_palette(3))


@pytest.mark.parametrize("colour", [(0, 0), (0, 0, 0, 0), (0, 0, 256), (-1, 0, 0), (0.5, 0, 0)])
def test_colours_are_three_bytes(colour: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="three whole numbers from 0 to 255"):
        LabelSet(("sky",), (colour,))  # type: ignore[arg-type]
