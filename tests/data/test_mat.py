"""Arrays out of MATLAB files, beside scipy's reader and by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from atrous.data.label_files import MatReader
from atrous.data.mat import read_mat

from .trees import label_map, mat_array, write_mat, write_sbd

LABELS = label_map([0, 3, 20, 255])


@pytest.mark.parametrize("is_compressed", [True, False])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32", "float64"])
def test_an_array_comes_back_in_matlabs_shape(tmp_path: Path, kind: str, is_compressed: bool):
    path = tmp_path / "a.mat"
    first = mat_array("names", np.ones((1, 3)))
    second = mat_array("S", LABELS.astype(kind))
    write_mat(path, first, second, is_compressed=is_compressed)
    np.testing.assert_array_equal(read_mat(path, "S"), LABELS)


def test_a_field_of_a_struct_is_found_behind_others(tmp_path: Path):
    write_sbd(tmp_path / "a.mat", [0, 3, 20, 255])
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat", "GTcls", "Segmentation"), LABELS)


@pytest.mark.parametrize("do_compression", [True, False])
def test_files_of_scipy_are_read(tmp_path: Path, do_compression: bool):
    io = pytest.importorskip("scipy.io")
    sparse = pytest.importorskip("scipy.sparse")
    boundaries = np.empty((20, 1), object)
    boundaries[:, 0] = [sparse.csc_matrix(np.eye(3))] * 20
    content = {"Boundaries": boundaries, "Segmentation": LABELS, "CategoriesPresent": [[3], [20]]}
    io.savemat(
        tmp_path / "a.mat",
        {"text": "a dog", "GTcls": content, "LabelMap": LABELS.astype(np.uint16) * 2},
        do_compression=do_compression,
    )
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat", "GTcls", "Segmentation"), LABELS)
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat", "LabelMap"), LABELS.astype(int) * 2)


def test_files_written_here_are_read_by_scipy(tmp_path: Path):
    io = pytest.importorskip("scipy.io")
    write_sbd(tmp_path / "a.mat", [0, 3, 20, 255])
    read = io.loadmat(tmp_path / "a.mat")["GTcls"]["Segmentation"][0, 0]
    np.testing.assert_array_equal(read, LABELS)


def test_what_is_no_such_file_is_refused(tmp_path: Path):
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(600))
    with pytest.raises(ValueError, match="MATLAB 7.3.*save it again with -v7"):
        read_mat(path, "S")
    path.write_bytes(b"PNG")
    with pytest.raises(ValueError, match="a.mat is not a MATLAB file, or is cut short"):
        read_mat(path, "S")
    with pytest.raises(FileNotFoundError):
        read_mat(tmp_path / "b.mat", "S")


@pytest.mark.parametrize("is_compressed", [True, False])
def test_a_file_cut_anywhere_is_damaged_or_lacks_the_array(tmp_path: Path, is_compressed: bool):
    path = tmp_path / "a.mat"
    write_mat(path, mat_array("S", LABELS), is_compressed=is_compressed)
    whole = path.read_bytes()
    for length in range(128, len(whole) - 8):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="a.mat (is damaged or cut short|holds no array)"):
            read_mat(path, "S")


def test_a_file_without_the_array_names_it(tmp_path: Path):
    write_mat(tmp_path / "a.mat", mat_array("T", LABELS))
    with pytest.raises(ValueError, match="a.mat holds no array of numbers GTcls.Segmentation"):
        read_mat(tmp_path / "a.mat", "GTcls", "Segmentation")


@pytest.mark.parametrize("value", [-1.0, 0.5, 70000.0])
def test_numbers_that_are_no_labels_are_refused(tmp_path: Path, value: float):
    write_mat(tmp_path / "a.mat", mat_array("S", np.array([[0.0, value]])))
    with pytest.raises(ValueError, match="a.mat holds values that are not labels"):
        MatReader(("S",))(tmp_path / "a.mat")


def test_an_empty_map_is_refused(tmp_path: Path):
    write_mat(tmp_path / "a.mat", mat_array("S", np.zeros((0, 3))))
    with pytest.raises(ValueError, match=r"a.mat holds S of shape \(0, 3\), not 2-D"):
        MatReader(("S",))(tmp_path / "a.mat")


def test_big_endian_files_are_read(tmp_path: Path):
    labels = np.array([[1, 2], [3, 4]], ">u2")
    content = struct.pack(">IIII", 6, 8, 11, 0) + struct.pack(">IIii", 5, 8, 2, 2)
    content += struct.pack(">HH4s", 1, 1, b"S\0\0\0") + struct.pack(">II", 4, 8)
    content += labels.tobytes(order="F")
    header = b"MATLAB 5.0".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    (tmp_path / "a.mat").write_bytes(header + struct.pack(">II", 14, len(content)) + content)
    assert read_mat(tmp_path / "a.mat", "S").tolist() == [[1, 2], [3, 4]]
