"""Colours where they belong, the photo never hidden, a legend that counts right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from atrous.image_io import IGNORE_COLOUR
from atrous.labels import LabelSet, voc_palette
from atrous.visualize import (
    PAPER,
    class_name,
    class_shares,
    colourise,
    compare,
    draw_legend,
    overlay,
    percent,
)

THREE = LabelSet(("sky", "road", "tree"), ((0, 0, 255), (90, 90, 90), (0, 128, 0)))


def photo(height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def halves(height: int = 40, width: int = 60) -> np.ndarray:
    """Sky above, tree below, no road."""
    labels = np.zeros((height, width), np.uint8)
    labels[height // 2 :] = 2
    return labels


def colours_in(picture: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.asarray(picture).reshape(-1, 3).tolist()}


def test_every_pixel_gets_its_class_colour() -> None:
    coloured = colourise(np.array([[0, 1], [2, 255]], np.uint8), THREE)
    assert coloured.dtype == np.uint8
    np.testing.assert_array_equal(coloured, [THREE.palette[:2], (THREE.palette[2], IGNORE_COLOUR)])


def test_over_256_classes_have_colours() -> None:
    colours = (voc_palette(256) * 2)[:300]
    label_set = LabelSet(tuple(map(str, range(300))), colours, None)
    assert colourise(np.array([[299]], np.uint16), label_set)[0, 0].tolist() == list(colours[299])


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.55, 1.0])
def test_overlay_mixes_photo_and_colour(alpha: float) -> None:
    labels = np.full((40, 60), 2, np.uint8)
    mixed = np.asarray(overlay(photo(), labels, THREE, alpha=alpha, legend=False)).astype(float)
    expected = (1 - alpha) * photo() + alpha * np.array(THREE.palette[2])
    assert np.abs(mixed - expected).max() <= 1.1  # alpha is rounded to 1/256, the mix to a byte


def test_ignored_pixels_show_the_photo() -> None:
    labels = np.full((40, 60), 255, np.uint8)
    np.testing.assert_array_equal(overlay(photo(), labels, THREE, legend=False), photo())


def test_boundaries_are_darkened_and_nothing_else() -> None:
    plain = np.full((40, 60, 3), 200, np.uint8)
    above = np.asarray(overlay(plain, halves() * 0, THREE, legend=False))
    both = np.asarray(overlay(plain, halves(), THREE, legend=False))
    np.testing.assert_array_equal(both[:20], above[:20])
    np.testing.assert_array_equal(both[20], both[21] // 2)
    assert (both[21:] == both[21]).all()


def test_legend_stands_below_the_whole_photo() -> None:
    bare = overlay(photo(300, 400), halves(300, 400), THREE, legend=False)
    full = overlay(photo(300, 400), halves(300, 400), THREE)
    assert full.width == 400
    assert full.height > 300
    np.testing.assert_array_equal(np.asarray(full)[:300], np.asarray(bare))


def test_legend_shows_present_classes_alone() -> None:
    legend = draw_legend(halves(), THREE, width=400, size_px=20)
    colours = colours_in(legend)
    assert {THREE.palette[0], THREE.palette[2]} <= colours
    assert THREE.palette[1] not in colours


def test_legend_starts_with_the_largest_class() -> None:
    labels = halves()
    labels[5:] = 2
    legend = np.asarray(draw_legend(labels, THREE, width=400, size_px=20))
    row = legend[legend.shape[0] // 2].tolist()
    assert row.index(list(THREE.palette[2])) < row.index(list(THREE.palette[0]))


def test_legend_breaks_into_rows_where_it_is_narrow() -> None:
    wide = draw_legend(halves(), THREE, width=400, size_px=20)
    narrow = draw_legend(halves(), THREE, width=150, size_px=20)
    assert wide.width == 400
    assert narrow.width == 150
    assert narrow.height > wide.height


def test_legend_of_60_classes_fits_its_width() -> None:
    label_set = LabelSet(tuple(f"class {i}" for i in range(60)), voc_palette(60))
    labels = np.arange(60, dtype=np.uint8).repeat(100).reshape(60, 100)
    legend = draw_legend(labels, label_set, width=640, size_px=16)
    assert legend.width == 640
    shown = colours_in(legend)
    assert all(colour in shown for colour in label_set.palette)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (20, 20)])
def test_legend_of_a_tiny_photo_is_whole(height: int, width: int) -> None:
    labels = np.zeros((height, width), np.uint8)
    picture = np.asarray(overlay(photo(height, width), labels, THREE))
    legend = np.asarray(draw_legend(labels, THREE, width=width, size_px=12))
    np.testing.assert_array_equal(picture[height:, : legend.shape[1]], legend)
    assert (legend[:, -1] == PAPER).all()  # no letter is cut off


def test_letters_grow_with_the_photo() -> None:
    small = overlay(photo(300, 400), halves(300, 400), THREE)
    large = overlay(photo(1500, 2000), halves(1500, 2000), THREE)
    assert large.height - 1500 > 3 * (small.height - 300)


def test_comparison_holds_the_photo_and_every_label_map() -> None:
    image, labels = photo(300, 400), halves(300, 400)
    one = compare(image, {"labels": labels}, THREE)
    two = compare(image, {"labels": labels, "refined": labels}, THREE)
    assert two.width > one.width > 800
    pixels = np.asarray(one)
    top = next(y for y in range(80) if np.array_equal(pixels[y : y + 300, :400], image))
    panel = np.asarray(overlay(image, labels, THREE, legend=False))
    np.testing.assert_array_equal(pixels[top : top + 300, -400:], panel)


def test_shares_are_sorted_and_sum_to_one() -> None:
    labels = np.array([[0, 2, 2, 2], [2, 255, 2, 2]], np.uint8)
    assert class_shares(labels) == [(2, 0.75), (0, 0.125), (255, 0.125)]
    assert [class_name(index, THREE) for index in (2, 0, 255)] == ["tree", "sky", "ignored"]


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100 %"), (0.414, "41 %"), (0.0996, "10 %"), (0.0994, "9.9 %"), (0.001, "0.1 %"),
        (0.00099, "<0.1 %"),
    ],
)  # fmt: skip
def test_shares_are_written_for_people(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("image", "labels", "alpha", "says"),
    [
        (photo(), halves(20, 20), 0.5, r"uint8 of shape \(40, 60, 3\) but labels are \(20, 20\)"),
        (photo().astype(np.float32), halves(), 0.5, "image is float32"),
        (photo()[..., 0], halves(), 0.5, r"image is uint8 of shape \(40, 60\)"),
        (photo(), halves() + 7, 0.5, r"labels hold \[7, 9\]"),
        (photo(), halves(), 1.5, r"alpha is 1\.5; it must be from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(image: Any, labels: Any, alpha: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        overlay(image, labels, THREE, alpha=alpha)


def test_strange_labels_have_no_colour() -> None:
    with pytest.raises(ValueError, match=r"labels hold \[9\]"):
        colourise(np.array([[9]]), THREE)


def test_comparison_needs_a_label_map() -> None:
    with pytest.raises(ValueError, match="no label map to compare"):
        compare(photo(), {}, THREE)
