"""The converter of Clothing Co-Parsing, on both layouts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.data import load_dataset

from ..data.trees import label_map, mat_array, write_grey, write_mat, write_photo

NUMBERS = ("0001", "0002", "0501")
LABELS = [0, 19, 41, 13, 14, 42, 58, 33, 57]  # one class of each part, in the parts' order


def convert(root: Path, ccp: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools/ccp_parts.py"), str(ccp), str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write_official(ccp: Path) -> None:
    for number in NUMBERS:
        write_photo(ccp / f"photos/{number}.jpg")
        truth = mat_array("groundtruth", label_map(LABELS))
        write_mat(ccp / f"annotations/pixel-level/{number}.mat", truth)


def write_copy(ccp: Path) -> None:
    for number in NUMBERS:
        write_photo(ccp / f"images/{number}.jpg")
        write_grey(ccp / f"labels/{number}.png", LABELS)


@pytest.mark.parametrize("write", [write_official, write_copy])
def test_both_layouts_become_a_folder_of_nine_parts(tmp_path: Path, root: Path, write) -> None:
    write(tmp_path / "ccp")
    done = convert(root, tmp_path / "ccp", tmp_path / "parts")
    assert done.returncode == 0, done.stderr
    assert "train 1, val 1, test 1" in done.stdout
    dataset = load_dataset("folder", tmp_path / "parts", split="val")
    assert [pair.name for pair in dataset.pairs] == ["0001"]
    assert dataset[0].labels.ravel()[:9].tolist() == list(range(9))
    assert dataset.label_set.names[3:6] == ("upper clothes", "one-piece", "lower clothes")


def test_what_is_not_the_data_set_is_refused_in_a_line(tmp_path: Path, root: Path) -> None:
    done = convert(root, tmp_path, tmp_path / "parts")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "holds neither annotations/pixel-level/ with photos/" in done.stderr
    write_copy(tmp_path / "ccp")
    (tmp_path / "ccp/images/0002.jpg").unlink()
    assert "0002.png has no image" in convert(root, tmp_path / "ccp", tmp_path / "parts").stderr
    write_photo(tmp_path / "ccp/images/0002.jpg")
    Image.fromarray(np.full((6, 8), 59, np.uint8)).save(tmp_path / "ccp/labels/0002.png")
    done = convert(root, tmp_path / "ccp", tmp_path / "parts")
    assert "0002.png holds the label 59; CCP's are 0-58" in done.stderr
