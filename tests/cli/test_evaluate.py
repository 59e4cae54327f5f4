"""`atrous evaluate`: tables, JSON, plot, and submissions."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from atrous.cli.main import main
from atrous.data import load_dataset
from atrous.evaluation import evaluate
from atrous.predict import Segmenter
from atrous.weights import save_weights

from ..data.trees import write_photo, write_text
from ..test_submission import VOC, make_segmenter
from ..tune_crf.conftest import Case, noisy, segmenter

__all__ = ["noisy", "segmenter"]  # fixtures


@pytest.fixture
def case(
    noisy: Case, segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Case:
    monkeypatch.chdir(tmp_path)
    (noisy.root / "splits/val.txt").write_text("p0\np1")
    save_weights("net.safetensors", segmenter.model.state_dict(), segmenter.entry)
    return noisy


def run(case: Case, *args: object) -> Result:
    given = ["evaluate", "folder", case.root, "--weights", "./net.safetensors"]
    return CliRunner().invoke(main, [*map(str, given), *map(str, args)])


def rows(output: str) -> dict[str, list[str]]:
    """First cell of each row of the tables -> the others."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines()]
    return {row[0]: row[1:] for row in cells if row}


def test_one_variant_is_a_table_of_classes_and_bands(case: Case, segmenter: Segmenter) -> None:
    result = run(case, "-o", "scores.json")
    assert result.exit_code == 0, result.output
    report = evaluate(segmenter, load_dataset("folder", case.root, split="val"))
    table = rows(result.output)
    assert table["left"] == [f"{report.iou[0]:.3f}", f"{report.boundary_iou[0]:.3f}"]
    assert table["mean IoU"][0] == f"{report.miou:.3f}"
    assert table["mean IoU within 40 px of a boundary"][0] == f"{report.trimap[40]:.3f}"
    written = json.loads(Path("scores.json").read_text())
    assert written["weights"] == "drawn"
    assert (written["scales"], written["flip"], written["crf"]) == ([1.0], False, None)
    assert written["confusion"] == report.confusion.tolist()


def test_variants_are_rows_of_one_table(case: Case, segmenter: Segmenter) -> None:
    result = run(case, "--variants", "single,msc+flip,crf", "-o", "scores.json")
    assert result.exit_code == 0, result.output
    assert "folder/val, 2 images" in result.output
    written = json.loads(Path("scores.json").read_text())["variants"]
    assert list(written) == ["single", "msc+flip", "crf"]
    assert written["msc+flip"]["scales"] == [1, 0.75, 0.5]
    assert written["msc+flip"]["flip"]
    assert written["crf"]["crf"]["bilateral_xy_std"] == 67
    assert written["single"]["crf"] is None
    dataset = load_dataset("folder", case.root, split="val")
    for name, options in (("single", {"crf": False}), ("crf", {"crf": True})):
        report = evaluate(segmenter.with_options(**options), dataset)
        assert written[name]["miou"] == report.miou
        assert f"│ {name:8} │ {report.miou:.3f} │ {report.pixel_accuracy:.3f} │" in result.output
    table = rows(result.output)
    assert len(table["3 px"]) == len(table["left"]) == 3


def test_all_is_the_eight_variants_and_scales_replace_those_of_msc(case: Case) -> None:
    result = run(case, "--variants", "all", "--scales", "1,0.5", "-o", "scores.json")
    assert result.exit_code == 0, result.output
    written = json.loads(Path("scores.json").read_text())["variants"]
    kinds = {(len(v["scales"]), v["flip"], v["crf"] is not None) for v in written.values()}
    assert len(written) == len(kinds) == 8
    assert written["msc"]["scales"] == [1, 0.5]


def test_the_bands_are_drawn(case: Case) -> None:
    result = run(case, "--variants", "single,flip", "--plot", "bands.svg")
    assert result.exit_code == 0, result.output
    assert "wrote bands.svg" in result.output
    text = Path("bands.svg").read_text("utf-8")
    assert "<!-- flip -->" in text
    assert "<!-- drawn on folder/val, 2 images -->" in text


def test_a_submission_is_written_instead_of_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = make_segmenter(VOC)
    save_weights("voc.safetensors", drawn.model.state_dict(), drawn.entry)
    write_photo(tmp_path / "VOCdevkit/VOC2012/JPEGImages/2008_000006.jpg")
    write_text(tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/test.txt", "2008_000006")
    given = ["evaluate", "voc2012", ".", "--weights", "./voc.safetensors", "--submission", "out"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 0, result.output
    assert "wrote out/results.tgz with the labels of 1 images; CRF off" in result.output
    path = Path("out/results/VOC2012/Segmentation/comp6_test_cls/2008_000006.png")
    with Image.open(path) as image:
        labels = np.array(image)
    photo = "VOCdevkit/VOC2012/JPEGImages/2008_000006.jpg"
    np.testing.assert_array_equal(labels, drawn(photo).labels)


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        (("--variants", "flipp"), 2, "'flipp' in 'flipp' is unknown; did you mean flip?"),
        (("--variants", "single+crf"), 2, "`single` in 'single+crf' cannot be combined"),
        (("--variants", "crf+xyz"), 2, "'xyz' in 'crf+xyz' is unknown; choose from single, msc"),
        (("--variants", "all", "--flip"), 2, "--variants cannot be combined with --flip or --crf"),
        (("--submission", "out", "--plot", "a.png"), 2, "--submission cannot be combined with -o"),
        (("--submission", "out"), 1, "folder has no server for submissions; choose from voc2012"),
        (("--plot", "a.jpg"), 1, "a.jpg does not end in .svg, .png, .pdf"),
        (("-o", "."), 2, "File '.' is a directory"),
        (("-o", "no/a.json"), 1, "no is not a folder; create it first"),
        (("--split", "tset"), 1, "tset.txt does not exist; splits there: val"),
    ],
)
def test_wrong_usage_is_one_line(case: Case, args: tuple[str, ...], status: int, says: str) -> None:
    result = run(case, *args)
    assert result.exit_code == status
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_plot_without_matplotlib_is_refused_before_the_work(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(case, "--plot", "a.png")
    assert result.exit_code == 1
    assert "--plot needs matplotlib: pip install 'atrous[plot]'" in result.output
