"""Read one array from a MATLAB file (level 5, the default format of `save`).

SBD, COCO-Stuff 10k and PASCAL-Context publish labels in this format. Only the path to the array is
parsed; other variables and fields (sparse boundaries, cells of text) are skipped.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_STRUCT = 2
_NUMERIC = range(6, 16)  # classes of dense numbers: double, single, int8 … uint64
_COMPLEX = 0x08
_TYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip


def read_mat(path: Path, variable: str, *fields: str) -> NDArray[Any]:
    """Read an array of numbers.

    Args:
        path: A .mat file.
        variable: Name of the variable.
        fields: Names of the fields that lead to the array, if the variable is a struct.

    Returns:
        The array in its MATLAB shape (at least two dimensions).

    Raises:
        FileNotFoundError: If the file does not exist.
        DataError: If the file is of another kind, is damaged, or has no such array.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; a MATLAB file is needed there")
    content = path.read_bytes()
    if content[:10] == b"MATLAB 7.3" or content[1:4] == b"HDF":
        raise DataError(
            f"{path} is a MATLAB 7.3 (HDF5) file, which is not read; save it again with -v7"
        )
    if len(content) < _HEADER_BYTES or content[126:128] not in (b"IM", b"MI"):
        raise DataError(f"{path} is not a MATLAB file, or is cut short")
    order = "<" if content[126:128] == b"IM" else ">"
    try:
        array = _find(content[_HEADER_BYTES:], order, (variable, *fields))
    except (struct.error, zlib.error, IndexError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged or cut short: {error}") from error
    if array is None:
        raise DataError(
            f"{path} holds no array of numbers {'.'.join((variable, *fields))}; is it a file of "
            "this data set?"
        )
    return array


def _find(content: bytes, order: str, names: tuple[str, ...]) -> NDArray[Any] | None:
    for kind, data in _elements(content, order):
        if kind == _COMPRESSED:
            kind, data = next(_elements(zlib.decompress(data), order))
        if kind == _MATRIX:
            name, array = _read_matrix(data, order, names[1:], wanted=names[0])
            if name == names[0]:
                return array
    return None


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield the data elements of a file or of a matrix as (type, data)."""
    start = 0
    while start < len(content):
        word, count = struct.unpack_from(order + "II", content, start)
        if word >> 16:  # small data element: up to four bytes inside the tag
            yield word & 0xFFFF, content[start + 4 : start + 4 + (word >> 16)]
            start += 8
            continue
        start += 8
        if start + count > len(content):
            raise DataError(f"{count} bytes expected, {len(content) - start} found")
        yield word, content[start : start + count]
        start += count if word == _COMPRESSED else -(-count // 8) * 8


def _read_matrix(
    data: bytes, order: str, fields: tuple[str, ...], *, wanted: str = ""
) -> tuple[str, NDArray[Any] | None]:
    """Return a matrix's name and the array at `fields`, or None if there is no array."""
    parts = _elements(data, order)
    (flags,) = struct.unpack_from(order + "I", next(parts)[1])
    kind, is_complex = flags & 0xFF, bool(flags >> 8 & _COMPLEX)
    shape = np.frombuffer(next(parts)[1], order + "i4")
    name = next(parts)[1].decode("ascii")
    if wanted not in ("", name):
        return name, None
    if kind == _STRUCT and fields and shape.prod() == 1:
        (length,) = struct.unpack_from(order + "i", next(parts)[1])
        text = next(parts)[1]
        names = [
            text[i : i + length].split(b"\0")[0].decode("ascii")
            for i in range(0, len(text), length)
        ]
        for field, (_, value) in zip(names, parts, strict=False):
            if field == fields[0]:
                return name, _read_matrix(value, order, fields[1:])[1]
    if kind in _NUMERIC and not fields and not is_complex:
        number_type, numbers = next(parts)
        array = np.frombuffer(numbers, order + _TYPES[number_type])
        return name, array.reshape(shape, order="F")  # MATLAB is column-major
    return name, None
