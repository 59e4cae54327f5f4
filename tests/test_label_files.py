"""Label maps: indices in, indices out, whatever the file's colours and bit depth."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.image_io import IGNORE_COLOUR, colour_table, read_labels, write_labels
from atrous.labels import LabelSet, voc_palette

THREE = LabelSet(("sky", "road", "tree"), ((0, 0, 255), (90, 90, 90), (0, 128, 0)))


def png(width: int, height: int, *, bits: int, colour_type: int, rows: bytes) -> bytes:
    """Write a PNG by hand, to have the bit depths that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_labels_come_back_as_indices_with_their_palette(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)
    write_labels(tmp_path / "a.png", labels, THREE)
    back = read_labels(tmp_path / "a.png")
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, labels)
    shown = np.array(Image.open(tmp_path / "a.png").convert("RGB"))
    np.testing.assert_array_equal(shown[0], THREE.palette)
    np.testing.assert_array_equal(shown[1, 1], IGNORE_COLOUR)


@pytest.mark.parametrize(("classes", "ignored"), [(300, None), (300, 65535), (10, 65535)])
def test_high_indices_are_written_with_16_bits(
    tmp_path: Path, classes: int, ignored: int | None
) -> None:
    colours = (voc_palette(256) * 2)[:classes]
    label_set = LabelSet(tuple(map(str, range(classes))), colours, ignored)
    labels = np.array([[0, classes - 1, ignored or 0]], np.uint16)
    write_labels(tmp_path / "a.png", labels, label_set)
    back = read_labels(tmp_path / "a.png")
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, labels)


def test_int64_labels_are_written(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.png", np.array([[0, 2]]), THREE)
    assert read_labels(tmp_path / "a.png").tolist() == [[0, 2]]


def test_palette_colours_do_not_matter_to_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 7]], np.uint8), "P")
    image.putpalette([9, 9, 9] * 8)
    image.save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == [[0, 1, 7]]


def test_grey_labels_are_indices(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 255]], np.uint8)).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == [[0, 1, 255]]


@pytest.mark.parametrize(
    ("bits", "row", "indices"),
    [(1, b"\x40", [0, 1, 0, 0]), (2, b"\x1b", [0, 1, 2, 3]), (4, b"\x05\xaf", [0, 5, 10, 15])],
)
def test_grey_labels_of_few_bits_are_not_stretched(
    tmp_path: Path, bits: int, row: bytes, indices: list[int]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(4, 1, bits=bits, colour_type=0, rows=b"\x00" + row))
    assert read_labels(path).tolist() == [indices]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "CMYK", "F"])
def test_label_file_with_colours_says_what_to_do(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "labels.tiff"
    Image.new(mode, (2, 2)).save(path)
    with pytest.raises(ValueError, match=f"holds {mode} pixels, not class indices; save the "):
        read_labels(path)


def test_indices_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[70000]], np.int32)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match="holds I pixels"):
        read_labels(tmp_path / "a.tiff")


def test_lossy_label_file_is_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="JPEG file, whose compression may change class indices"):
        read_labels(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros((2, 2, 3), np.uint8), r"uint8 of shape \(2, 2, 3\); give integers"),
        (np.zeros((2, 2), np.float32), r"float32 of shape \(2, 2\); give integers"),
        (np.zeros((0, 2), np.uint8), r"uint8 of shape \(0, 2\); give integers"),
        (np.array([[0, 3]]), r"hold \[3\], but the label set has the indices 0-2 and 255"),
        (np.array([[255, 7, 4]]), r"hold \[4, 7\]"),
        (np.array([[-1, 0]]), r"hold \[-1\]"),
        (np.array([[0, 70000]]), r"hold \[70000\]"),
    ],
)
def test_arrays_that_are_not_label_maps_are_refused(
    tmp_path: Path, labels: np.ndarray, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        write_labels(tmp_path / "a.png", labels, THREE)
    assert not list(tmp_path.iterdir())


def test_labels_are_written_only_as_png(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels\.jpg: labels are written as PNG"):
        write_labels(tmp_path / "labels.jpg", np.zeros((2, 2), np.uint8), THREE)


def test_colour_table_covers_classes_and_ignored_index() -> None:
    table = colour_table(THREE)
    assert table.shape == (256, 3)
    np.testing.assert_array_equal(table[:3], THREE.palette)
    assert tuple(table[255]) == IGNORE_COLOUR
    assert not table[3:255].any()
