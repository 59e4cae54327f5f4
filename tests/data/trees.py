"""Writers of small trees in the layouts of the official archives."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE_HW = (6, 8)


def write_photo(path: Path, *, size_hw: tuple[int, int] = SIZE_HW, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), np.uint8)
    Image.fromarray(noise).save(path)


def label_map(values: list[int], size_hw: tuple[int, int] = SIZE_HW) -> NDArray[np.uint8]:
    return np.resize(np.array(values, np.uint8), size_hw)


def write_grey(path: Path, values: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_map(values)).save(path)


def write_palette(path: Path, values: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(label_map(values), "P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    image.save(path)


def write_text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_red_16bit(path: Path, values: list[int]) -> None:
    """Write SYNTHIA's labels: class in red, instance in green, 16 bits, every PNG filter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    red = label_map(values).astype(np.uint16)
    pixels = np.stack([red, red * 300 + 7, np.zeros_like(red)], axis=2).astype(">u2")
    path.write_bytes(png_16bit(pixels))


def png_16bit(pixels: NDArray[np.uint16]) -> bytes:
    rows = pixels.astype(">u2").reshape(len(pixels), -1).view(np.uint8).astype(int)
    data, above = b"", np.zeros_like(rows[0])
    for number, row in enumerate(rows):
        left = np.concatenate([np.zeros(6, int), row[:-6]])
        corner = np.concatenate([np.zeros(6, int), above[:-6]])
        guess = left + above - corner
        distances = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
        paeth = np.choose(distances.argmin(axis=0), [left, above, corner])
        kind = number % 5
        predicted = [np.zeros_like(row), left, above, (left + above) // 2, paeth][kind]
        data += bytes([kind]) + ((row - predicted) % 256).astype(np.uint8).tobytes()
        above = row

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


# --- MATLAB files -------------------------------------------------------------------------------

_CODES = {"int8": (1, 8), "uint8": (2, 9), "uint16": (4, 11), "int32": (5, 12), "float64": (9, 6)}


def _element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def _small(kind: int, content: bytes) -> bytes:
    return struct.pack("<I", len(content) << 16 | kind) + content.ljust(4, b"\0")


def mat_array(name: str, array: NDArray[np.generic]) -> bytes:
    number_type, mat_class = _CODES[array.dtype.name]
    content = _element(6, struct.pack("<II", mat_class, 0))
    content += _element(5, struct.pack("<ii", *array.shape))
    content += _small(1, name.encode()) if 0 < len(name) < 5 else _element(1, name.encode())
    content += _element(number_type, array.tobytes(order="F"))
    return _element(14, content)


def mat_cell(items: list[bytes]) -> bytes:
    content = _element(6, struct.pack("<II", 1, 0)) + _element(5, struct.pack("<ii", len(items), 1))
    return _element(14, content + _element(1, b"") + b"".join(items))


def mat_struct(name: str, fields: dict[str, bytes]) -> bytes:
    content = _element(6, struct.pack("<II", 2, 0)) + _element(5, struct.pack("<ii", 1, 1))
    content += _element(1, name.encode()) + _small(5, struct.pack("<i", 32))
    content += _element(1, b"".join(field.encode().ljust(32, b"\0") for field in fields))
    return _element(14, content + b"".join(fields.values()))


def write_mat(path: Path, *variables: bytes, is_compressed: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    for variable in variables:
        if is_compressed:
            packed = zlib.compress(variable)
            header += struct.pack("<II", 15, len(packed)) + packed
        else:
            header += variable
    path.write_bytes(header)


def write_sbd(path: Path, values: list[int]) -> None:
    """Write GTcls as SBD does: boundaries first, then the label map."""
    empty = mat_array("", np.zeros((1, 1), np.float64))
    labels = mat_array("", label_map(values))
    fields = {"Boundaries": mat_cell([empty, empty]), "Segmentation": labels}
    write_mat(path, mat_struct("GTcls", fields | {"CategoriesPresent": empty}))
