"""`atrous split`: the lists on disk, what is printed, and errors on one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from atrous.cli.main import main

from ..data.test_split_lists import write


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["split", *map(str, args)])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for index in range(10):
        write(tmp_path, f"p{index}", [0, 1], seed=index)
    return tmp_path


def test_lists_are_written_and_counted(root: Path) -> None:
    write(root, "p8b", [0, 1], seed=8, mirrored=True)
    (root / "labels/p3.png").unlink()
    result = run(root, "--val", "0.3")
    assert result.exit_code == 0, result.output
    names = {
        split: (root / f"splits/{split}.txt").read_text().split() for split in ("train", "val")
    }
    assert sorted(names["train"] + names["val"]) == sorted(
        ["p8b", *(f"p{index}" for index in range(10) if index != 3)]
    )
    assert ("p8" in names["val"]) is ("p8b" in names["val"])
    assert f"val.txt: {len(names['val'])} image(s)" in result.stdout
    assert "2 image(s) have near-duplicates, which are in one split" in result.stdout
    assert "1 image(s) have no mask and are left out, first p3" in result.stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--val", "1.5"), "val is 1.5 and test is 0; val must be above 0"),
        (("nowhere",), "holds no folders images and labels"),
    ],
)
def test_wrong_usage_is_one_line(root: Path, args: tuple[str, ...], says: str) -> None:
    place = root / args[0] if args == ("nowhere",) else root
    place.mkdir(exist_ok=True)
    result = run(place, *(() if args == ("nowhere",) else args))
    assert result.exit_code == 1
    assert result.stderr.count("Error:") == 1
    assert says in result.stderr


def test_existing_lists_are_replaced_only_on_request(root: Path) -> None:
    assert run(root).exit_code == 0
    result = run(root)
    assert result.exit_code == 1
    assert "lists of train, val; give --overwrite" in result.stderr
    assert run(root, "--overwrite", "--seed", "1").exit_code == 0
