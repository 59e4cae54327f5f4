"""Reads and writes image files: images as RGB, label maps as class indices, probabilities.

Files are written atomically: either completely or not at all.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from .atomic_file import write_bytes
from .errors import DataError, InputError
from .labels import LabelSet

StrPath = str | os.PathLike[str]

IMAGE_SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
"""Suffixes of the files that are read as images from a folder."""

MAX_PIXELS = 178_956_970
"""Larger images are refused as decompression bombs; the limit at which Pillow refuses too."""

LEAST_PROBABILITY = 1e-5  # the dense CRF clips here too
UNARY_STEP = -math.log(LEAST_PROBABILITY) / 255

IGNORE_COLOUR = (224, 224, 192)  # PASCAL VOC's colour of index 255

SAVE_INDICES = "save the labels as palette or grey PNG, one index per pixel"

# Pillow's decoders raise each of these for damaged files.
_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
)


def read_image(source: StrPath | Image.Image) -> NDArray[np.uint8]:
    """Read an image as RGB, rotated by its EXIF orientation.

    Transparent images are drawn on white. 16-bit grey is scaled from 0-65535 to 0-255. CMYK is
    converted without a colour profile. Of an animation or a multi-page file, the first frame is
    read.

    Args:
        source: A file in any format that Pillow reads, or a Pillow image, which is not changed.

    Returns:
        (H, W, 3) uint8.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If the file is not an image, is damaged, has more than `MAX_PIXELS` pixels, or
            contains floats or other values of unknown range.
    """
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the Pillow image")
    path = Path(source)
    return _to_rgb(_decode(path), str(path))


def read_labels(
    path: StrPath, *, rgb_remedy: str = SAVE_INDICES
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read a label map as class indices; the colours of its palette do not matter.

    Args:
        path: A file with one channel, compressed without loss.
        rgb_remedy: Advice that ends the error message for a file of RGB colours.

    Returns:
        (H, W) uint8, or uint16 from a 16-bit file.

    Raises:
        FileNotFoundError: If there is no such file.
        DataError: If the file is not an image, is damaged, or contains colours or lossy values
            instead of indices.
    """
    path = Path(path)
    image = _decode(path)
    if image.format in ("JPEG", "JPEG2000", "WEBP", "AVIF"):
        raise DataError(
            f"{path} is a {image.format} file, whose compression may change class indices; save "
            "labels as palette or grey PNG"
        )
    if image.mode == "L":
        return np.array(image) // _grey_step(path)
    if image.mode in ("P", "1"):
        return np.array(image).astype(np.uint8)
    if image.mode.startswith("I"):
        indices = np.array(image)
        if indices.min() >= 0 and indices.max() <= 65535:
            return indices.astype(np.uint16)
    remedy = rgb_remedy if image.mode in ("RGB", "RGBA") else SAVE_INDICES
    raise DataError(f"{path} holds {image.mode} pixels, not class indices; {remedy}")


def write_labels(path: StrPath, labels: NDArray[Any], label_set: LabelSet) -> None:
    """Write class indices as PNG, with the palette of the label set, or 16-bit over 256 classes.

    Args:
        path: The .png file to write; its folder must exist.
        labels: (H, W) integer; classes of `label_set` or its `ignore_index`.
        label_set: Names and colours.

    Raises:
        InputError: If the suffix is not .png, or `labels` has another shape, type or other indices.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: labels are written as PNG, which keeps indices; use a .png name")
    check_labels(labels, label_set)
    colours = colour_table(label_set)
    if len(colours) > 256:
        image = Image.fromarray(np.ascontiguousarray(labels, np.uint16))
    else:
        image = Image.fromarray(np.ascontiguousarray(labels, np.uint8))
        image.putpalette(colours.tobytes())
    write_image(path, image)


def check_labels(labels: NDArray[Any], label_set: LabelSet) -> None:
    """Check that labels are an (H, W) map of indices of the label set.

    Raises:
        InputError: If they have another shape, type or other indices.
    """
    if labels.ndim != 2 or not labels.size or labels.dtype.kind not in "ui":
        raise InputError(
            f"labels are {labels.dtype} of shape {labels.shape}; give integers of shape (H, W)"
        )
    low, high = int(labels.min()), int(labels.max())
    indices = [low, high]
    if low >= 0 and high <= 65535:
        indices = np.flatnonzero(np.bincount(labels.astype(np.int64).ravel())).tolist()
    ignored = label_set.ignore_index
    unknown = [v for v in indices if not 0 <= v < label_set.num_classes and v != ignored]
    if unknown:
        known = f"0-{label_set.num_classes - 1}" + ("" if ignored is None else f" and {ignored}")
        raise InputError(f"labels hold {unknown[:8]}, but the label set has the indices {known}")


def colour_table(label_set: LabelSet) -> NDArray[np.uint8]:
    """Return the colour of every index: (N, 3) uint8, N = 256 or one more than the highest index.

    Classes get the colours of the palette, the ignored index VOC's pale yellow, all others black.
    """
    ignored = label_set.ignore_index
    rows = max(256, label_set.num_classes, 0 if ignored is None else ignored + 1)
    table = np.zeros((rows, 3), np.uint8)
    table[: label_set.num_classes] = label_set.palette
    if ignored is not None:
        table[ignored] = IGNORE_COLOUR
    return table


def write_image(path: StrPath, image: NDArray[np.uint8] | Image.Image) -> None:
    """Write an image in the format of the suffix; JPEG is written at quality 95.

    Args:
        path: The file to write; its folder must exist.
        image: (H, W, 3) uint8 RGB, or a Pillow image.

    Raises:
        InputError: If no format that can be written has this suffix, or `image` is something else.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    file_format = Image.registered_extensions().get(path.suffix.lower())
    if file_format is None or file_format not in Image.SAVE:
        raise InputError(f"{path}: images are not written as {path.suffix!r}; use .png or .jpg")
    if not isinstance(image, Image.Image):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(
                f"image is {image.dtype} of shape {image.shape}; give uint8 RGB of shape (H, W, 3)"
            )
        image = Image.fromarray(np.ascontiguousarray(image))
    encoded = io.BytesIO()
    image.save(encoded, file_format, **({"quality": 95} if file_format == "JPEG" else {}))
    write_bytes(path, encoded.getvalue(), is_durable=False)


def write_probabilities(
    path: StrPath, probabilities: NDArray[np.float32], label_set: LabelSet
) -> None:
    """Write class probabilities compactly: their logarithm in 256 levels, compressed.

    The file stores the input of the dense CRF, -log(clip(p, 1e-5, 1)), so that a small p keeps its
    relative precision (2.3 %) and improbable classes compress to almost nothing. Files take a fifth
    of the size of float16. Read them with numpy alone:

        stored = numpy.load(path)  # unary: (K, H, W) uint8, step: float32, names: (K,) text
        probabilities = numpy.exp(-stored["step"] * stored["unary"])

    Raises:
        InputError: If the suffix is not .npz, or `probabilities` is not (K, H, W) with one map per
            class.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path}: probabilities are written as compressed numpy; use a .npz name")
    if probabilities.ndim != 3 or len(probabilities) != label_set.num_classes:
        raise InputError(
            f"probabilities have shape {probabilities.shape}; give (K, H, W) with K = "
            f"{label_set.num_classes} classes"
        )
    unary = -np.log(np.clip(probabilities, LEAST_PROBABILITY, 1))
    quantised = np.rint(unary / UNARY_STEP).astype(np.uint8)
    encoded = io.BytesIO()
    np.savez_compressed(
        encoded, unary=quantised, step=np.float32(UNARY_STEP), names=np.array(label_set.names)
    )
    write_bytes(path, encoded.getvalue(), is_durable=False)


def _decode(path: Path) -> Image.Image:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir():
        raise DataError(f"{path} is a folder; give one image file")
    if not path.is_file():
        raise DataError(f"{path} is not a regular file; give an image file")
    if not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes)")
    with path.open("rb") as file:
        with _decoding(str(path)):
            image = Image.open(file)
        if image.width * image.height > MAX_PIXELS:
            raise DataError(_too_large(str(path), f"{image.width}x{image.height} pixels"))
        with _decoding(str(path)):
            image.load()
    return image


@contextmanager
def _decoding(name: str) -> Generator[None]:
    """Raise every error of Pillow's decoders as `DataError`."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise DataError(_too_large(name, str(error))) from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is not an image in a format that Pillow can read") from error
    except _DECODING_ERRORS as error:
        raise DataError(f"{name} is damaged or cut short: {error}") from error


def _too_large(name: str, size: str) -> str:
    return f"{name} is too large ({size}; at most {MAX_PIXELS:,} are read); shrink it first"


def _to_rgb(image: Image.Image, name: str) -> NDArray[np.uint8]:
    with _decoding(name):
        image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise DataError(
            f"{name} holds floats of unknown range; save it with 8 or 16 bits per channel"
        )
    if image.mode.startswith("I"):
        return _grey_to_rgb(np.asarray(image), name)
    with _decoding(name):
        if image.has_transparency_data:
            canvas = Image.new("RGBA", image.size, "white")
            canvas.alpha_composite(image.convert("RGBA"))
            image = canvas
        return np.array(image.convert("RGB"))


def _grey_to_rgb(grey: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if grey.min() < 0 or grey.max() > 65535:
        raise DataError(
            f"{name} holds numbers from {grey.min()} to {grey.max()}; save it with 8 or 16 bits"
        )
    scaled = ((grey.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return np.repeat(scaled[..., None], 3, axis=2)


def _grey_step(path: Path) -> int:
    """Return the grey levels between neighbouring indices: 85 in 2-bit PNG, 17 in 4-bit, else 1."""
    with path.open("rb") as file:
        header = file.read(26)
    if not header.startswith(b"\x89PNG"):
        return 1
    bits, colour_type = header[24], header[25]
    return 255 // (2**bits - 1) if colour_type == 0 and bits in (2, 4) else 1
