"""The .caffemodel reader against bytes encoded by hand from the published field numbers."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from atrous.weights.convert.caffe_file import read_caffemodel


def varint(value: int) -> bytes:
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def blob(shape: tuple[int, ...], data: bytes) -> bytes:
    return chunk(7, chunk(1, b"".join(map(varint, shape)))) + chunk(5, data)


def layer(name: bytes, *blobs: bytes) -> bytes:
    return chunk(
        100, chunk(1, name) + chunk(2, b"Convolution") + b"".join(chunk(7, b) for b in blobs)
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.caffemodel"


def test_blobs_have_their_shape_and_order(path: Path) -> None:
    bias = blob((2,), floats(0.5, -1))
    path.write_bytes(
        chunk(1, b"net")
        + layer(b"data")  # no blobs
        + layer(b"conv", blob((2, 1, 1, 3), floats(1, 2, 3, 4, 5, 6)), bias)
    )
    layers = read_caffemodel(path)
    assert list(layers) == ["conv"]
    np.testing.assert_array_equal(layers["conv"][0], [[[[1, 2, 3]]], [[[4, 5, 6]]]])
    np.testing.assert_array_equal(layers["conv"][1], [0.5, -1])
    assert {array.dtype for array in layers["conv"]} == {np.dtype(np.float32)}


def test_first_format_is_read(path: Path) -> None:
    old = number(1, 1) + number(2, 1) + number(3, 1) + number(4, 2) + chunk(5, floats(7, 8))
    path.write_bytes(chunk(2, chunk(4, b"conv1_1") + number(5, 4) + chunk(6, old)))
    array = read_caffemodel(path)["conv1_1"][0]
    assert array.shape == (1, 1, 1, 2)
    np.testing.assert_array_equal(array.ravel(), [7, 8])


def test_gradients_and_settings_are_passed_over(path: Path) -> None:
    content = blob((2,), floats(1, 2)) + chunk(6, floats(9, 9))
    settings = chunk(106, number(1, 21))  # convolution_param
    path.write_bytes(chunk(100, chunk(1, b"conv") + settings + chunk(7, content)))
    np.testing.assert_array_equal(read_caffemodel(path)["conv"][0], [1, 2])


def test_doubles_are_read(path: Path) -> None:
    doubles = chunk(7, chunk(1, varint(2))) + chunk(8, struct.pack("<2d", 0.25, 4))
    path.write_bytes(layer(b"conv", doubles))
    np.testing.assert_array_equal(read_caffemodel(path)["conv"][0], [0.25, 4])


def test_skipped_endings_are_left_out(path: Path) -> None:
    path.write_bytes(b"".join(layer(n, blob((1,), floats(1))) for n in (b"a", b"a_res05", b"b")))
    assert list(read_caffemodel(path, skip=("_res05",))) == ["a", "b"]


def test_shape_against_data_is_refused(path: Path) -> None:
    path.write_bytes(layer(b"conv", blob((3, 7), floats(1, 2))))
    with pytest.raises(
        ValueError, match=r"layer 'conv', blob 0 has 2 numbers for the shape \(3, 7\)"
    ):
        read_caffemodel(path)


def test_cut_file_is_refused(path: Path) -> None:
    content = layer(b"conv", blob((4,), floats(1, 2, 3, 4)))
    path.write_bytes(content[:-3])
    with pytest.raises(ValueError, match=r"net.caffemodel is not a readable .caffemodel file"):
        read_caffemodel(path)


def test_text_is_refused(path: Path) -> None:
    path.write_text('name: "vgg"\nlayer { name: "conv1_1" }\n')
    with pytest.raises(ValueError, match=r"not a readable .caffemodel file|no layer with weights"):
        read_caffemodel(path)


def test_empty_file_is_refused(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="has no layer with weights"):
        read_caffemodel(path)
