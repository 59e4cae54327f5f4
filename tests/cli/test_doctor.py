"""`atrous doctor`: the findings on the terminal, the page, the exit status."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from atrous.cli.main import main

from ..doctor.test_doctor import cut_image, list_split, stripes, write_pair

CAMVID = Path(__file__).parents[3] / "shared/data/camvid"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("images", "labels", "splits"):
        (tmp_path / folder).mkdir()
    for seed in range(4):
        write_pair(tmp_path, f"p{seed}", stripes(0, 1, 2), seed=seed)
    (tmp_path / "classes.txt").write_text("sky\nroad\ntree")
    list_split(tmp_path, "train", "p0", "p1")
    list_split(tmp_path, "val", "p2", "p3")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, args)])


def test_sound_data_exits_with_0_and_writes_the_page(root: Path) -> None:
    result = run(root)
    assert result.exit_code == 0, result.output
    assert "This data will train." in result.output
    assert (root / "doctor.html").read_text("utf-8").startswith("<!doctype html>")


def test_data_that_breaks_training_exits_with_1_and_says_why(root: Path) -> None:
    cut_image(root)
    result = run(root, "-o", root / "page.html")
    assert result.exit_code == 1
    assert "1 pair(s) of train cannot be used." in result.output
    assert "p1.jpg is damaged or cut short" in result.output
    assert "This data will not train: 1 problem(s) to fix first." in result.output
    assert (root / "page.html").is_file()


def test_long_lists_are_cut_on_the_terminal_alone(root: Path) -> None:
    for seed in range(8):
        write_pair(root, f"q{seed}", stripes(0, 1, 2), seed=10 + seed)
        Image.new("RGB", (9, 9)).save(root / f"labels/q{seed}.png")
    list_split(root, "train", *(f"q{seed}" for seed in range(8)), "p0")
    result = run(root)
    assert "and 3 more; the page lists all" in result.output
    assert (root / "doctor.html").read_text("utf-8").count("holds RGB pixels") == 8


def test_splits_and_a_part_of_the_images_can_be_asked_for(root: Path) -> None:
    result = run(root, "--split", "val", "--images", "1")
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if line.strip().startswith("val"))
    assert row.split()[:3] == ["val", "2", "1"]


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (("--dataset", "camvidd"), 1, "no data set is called 'camvidd'; did you mean camvid?"),
        (("--dataset", "ade20k", "--split", "trian"), 1, "no split 'trian'; did you mean train?"),
        (("-o", "no/page.html"), 1, "no is not a folder; create it first"),
        (("--images", "0"), 2, "0 is not in the range x>=1"),
    ],
)
def test_wrong_usage_is_one_line(root: Path, args: tuple[str, ...], status: int, says: str) -> None:
    result = run(root, *args)
    assert result.exit_code == status
    assert says in result.stderr
    assert result.stderr.count("Error:") == 1
    assert not (root / "doctor.html").exists()


@pytest.mark.skipif(not CAMVID.is_dir(), reason="../shared/data/camvid is not there")
def test_camvid_is_sound(tmp_path: Path) -> None:
    page = tmp_path / "camvid.html"
    result = run(CAMVID, "--dataset", "camvid", "--images", "12", "-o", page)
    assert result.exit_code == 0, result.output
    assert "will train" in result.output
    assert page.stat().st_size > 100_000
