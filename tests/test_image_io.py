"""Photos of every mode, label maps as indices, files whole or not at all."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atrous.image_io import (
    read_image,
    write_image,
    write_probabilities,
)
from atrous.labels import LabelSet, voc_palette

THREE = LabelSet(("sky", "road", "tree"), ((0, 0, 255), (90, 90, 90), (0, 128, 0)))
# What each EXIF orientation makes of an upright picture stored in that way.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


def photo(height: int = 6, width: int = 9, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(width: int, height: int, *, bits: int, colour_type: int, rows: bytes) -> bytes:
    """Write a PNG by hand, to have the bit depths that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


# --- photos ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.ppm"])
def test_lossless_photo_comes_back_exactly(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, photo())
    image = read_image(tmp_path / name)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, photo())


def test_jpeg_comes_back_nearly(tmp_path: Path) -> None:
    smooth = np.indices((32, 32)).sum(0)[..., None].repeat(3, 2).astype(np.uint8) * 4
    write_image(tmp_path / "a.jpg", smooth)
    difference = np.abs(read_image(str(tmp_path / "a.jpg")).astype(int) - smooth)
    assert difference.max() <= 4


def test_one_pixel_is_a_photo(tmp_path: Path) -> None:
    write_image(tmp_path / "dot.png", photo(1, 1))
    assert read_image(tmp_path / "dot.png").shape == (1, 1, 3)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](photo())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    stored.save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), photo())


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_photo_with_damaged_exif_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(photo()).save(path, exif=b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\xff\xff\x01")
    assert read_image(path).shape == (6, 9, 3)


def test_pillow_image_is_read_and_left_alone() -> None:
    image = Image.fromarray(np.ascontiguousarray(STORED[6](photo())))
    image.getexif()[0x0112] = 6
    np.testing.assert_array_equal(read_image(image), photo())
    assert image.size == (6, 9)
    assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV"])
def test_other_modes_become_rgb_as_pillow_converts_them(mode: str) -> None:
    image = Image.fromarray(photo()).convert(mode)
    np.testing.assert_array_equal(read_image(image), np.array(image.convert("RGB")))


def test_transparency_is_laid_over_white() -> None:
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [255, 0, 0, 51]]], np.uint8)
    expected = [[[255, 0, 0], [255, 255, 255], [255, 204, 204]]]
    np.testing.assert_array_equal(read_image(Image.fromarray(pixels, "RGBA")), expected)


def test_grey_with_alpha_is_laid_over_white() -> None:
    pixels = np.array([[[100, 255], [100, 0]]], np.uint8)
    expected = [[[100] * 3, [255] * 3]]
    np.testing.assert_array_equal(read_image(Image.fromarray(pixels, "LA")), expected)


def test_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "a.png", transparency=1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[[10, 20, 30], [255, 255, 255]]])


def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.array([[0, 0, 1, 1, 128, 255]], np.uint8)[..., None].repeat(3, 2)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros((2, 2), np.float32), "the Pillow image holds floats of unknown range"),
        (np.array([[0, 70000]], np.int32), "numbers from 0 to 70000"),
        (np.array([[-1, 5]], np.int32), "numbers from -1 to 5"),
    ],
)
def test_values_of_unknown_range_are_refused(values: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_image(Image.fromarray(values))


# --- files that are no photos ---------------------------------------------------------------------


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nope\.jpg does not exist"):
        read_image(tmp_path / "nope.jpg")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder; give one image file"):
        read_image(tmp_path)


def test_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"pipe\.png is not a regular file"):
        read_image(tmp_path / "pipe.png")


def test_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ValueError, match=r"a\.jpg is empty \(0 bytes\)"):
        read_image(tmp_path / "a.jpg")


def test_text_named_png_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not a picture")
    with pytest.raises(
        ValueError, match=r"a\.png is not an image in a format that Pillow can read"
    ):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    write_image(path, photo(64, 64))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"cut{suffix} is (damaged or cut short|not an image)"):
        read_image(path)


def test_damaged_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    path, generator = tmp_path / "fuzz", np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        encoded = io.BytesIO()
        Image.fromarray(photo(24, 24)).save(encoded, kind)
        for _ in range(40):
            content = bytearray(encoded.getvalue())
            for place in generator.integers(0, len(content), 8):
                content[place] = generator.integers(0, 256)
            path.write_bytes(content)
            try:
                read_image(path)
            except ValueError as error:
                assert "fuzz" in str(error)  # noqa: PT017 (either outcome is right)
            except Image.DecompressionBombWarning:
                pass  # an error in these tests alone


def test_decompression_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(20_000, 20_000, bits=1, colour_type=0, rows=b""))
    with pytest.raises(ValueError, match=r"too large \(.*400000000.*at most 178,956,970 are read"):
        read_image(path)


def test_pixel_limit_holds_where_pillows_is_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = tmp_path / "bomb.png"
    path.write_bytes(png(20_000, 20_000, bits=1, colour_type=0, rows=b""))
    with pytest.raises(ValueError, match=r"bomb\.png is too large \(20000x20000 pixels"):
        read_image(path)


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((4, 0, 3))]
)
def test_arrays_that_are_not_images_are_refused(tmp_path: Path, image: Any) -> None:
    with pytest.raises(ValueError, match="give uint8 RGB of shape"):
        write_image(tmp_path / "a.png", image)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.psd"])
def test_unknown_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"use \.png or \.jpg"):
        write_image(tmp_path / name, photo())


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder; create it first"):
        write_image(tmp_path / "nowhere" / "a.png", photo())


def test_failed_write_keeps_the_old_file_and_names_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    write_image(path, photo(seed=1))

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(source), None, str(target))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"could not be written \(No space .*: '.*a\.png'"):
        write_image(path, photo(seed=2))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(read_image(path), photo(seed=1))


def test_probabilities_are_readable_with_numpy_alone(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).dirichlet((0.1, 0.1, 0.1), (50, 70)).astype(np.float32)
    probabilities = scores.transpose(2, 0, 1)
    assert (probabilities < 1e-5).any()
    write_probabilities(tmp_path / "a.npz", probabilities, THREE)
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["names"].tolist() == list(THREE.names)
        assert stored["unary"].dtype == np.uint8
        kept = np.exp(-stored["step"] * stored["unary"])
    assert kept.dtype == np.float32
    np.testing.assert_allclose(kept, probabilities.clip(1e-5, 1), rtol=0.023)


@pytest.mark.parametrize("value", [0.0, 1e-9, 1e-5, 1.0, 1.0000001])
def test_extreme_probabilities_keep_within_the_steps(tmp_path: Path, value: float) -> None:
    write_probabilities(tmp_path / "a.npz", np.full((3, 1, 1), value, np.float32), THREE)
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["unary"].ravel().tolist() == [0 if value > 0.5 else 255] * 3


def test_probabilities_of_certain_pixels_take_little_room(tmp_path: Path) -> None:
    probabilities = np.full((50, 100, 100), 1e-7, np.float32)
    probabilities[3] = 1
    label_set = LabelSet(tuple(map(str, range(50))), voc_palette(50))
    write_probabilities(tmp_path / "a.npz", probabilities, label_set)
    assert (tmp_path / "a.npz").stat().st_size < 10_000  # 2,000,000 as float32


@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 4), (4, 4, 3)])
def test_probabilities_of_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"give \(K, H, W\) with K = 3"):
        write_probabilities(tmp_path / "a.npz", np.zeros(shape, np.float32), THREE)


def test_probabilities_are_written_as_npz_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"use a \.npz name"):
        write_probabilities(tmp_path / "a.npy", np.zeros((3, 4, 4), np.float32), THREE)
