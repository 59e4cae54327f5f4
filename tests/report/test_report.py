"""The page about a run: what it draws, and that a run's folder is enough for it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.report import read_record, write_report
from atrous.report.charts import line_chart, number, ticks
from atrous.report.page import summarise
from atrous.tables import to_toml
from atrous.training import load_recipe, train
from atrous.training.recipe import recipe_from_table

LINES = [
    {"iteration": 20, "loss": 2.5, "learning_rate": 1e-3, "seconds_per_iteration": 3.0},
    {"iteration": 40, "loss": 1.5, "learning_rate": 5e-4, "seconds_per_iteration": 6.0},
    {"iteration": 40, "miou": 0.5, "iou": {"a": 0.5, "b": 0.5}},
    {"iteration": 60, "loss": 1.0, "learning_rate": 0.0, "seconds_per_iteration": 3.0},
    {"iteration": 60, "miou": 0.4, "iou": {"a": 0.4, "b": 0.4}},
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two iterations over a folder of six pictures, three of them val."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for folder in ("images", "labels", "splits"):
        (root / folder).mkdir()
    for index in range(6):
        image = rng.integers(0, 60, (24, 40, 3), np.uint8)
        image[:, 20:] += 180
        labels = np.zeros((24, 40), np.uint8)
        labels[:, 20:] = 1
        Image.fromarray(image).save(root / f"images/p{index}.png")
        Image.fromarray(labels).save(root / f"labels/p{index}.png")
    (root / "splits/train.txt").write_text("p0\np1\np2")
    (root / "splits/val.txt").write_text("p3\np4\np5")
    (root / "classes.txt").write_text("dark <1>\nbright")
    table = {
        "name": "small",
        "data": {"dataset": "folder", "root": str(root), "workers": 0},
        "augment": {"crop_hw": (17, 17)},
        "network": {"name": "deeplabv2_resnet18", "head": "conv1x1"},
        "optimizer": {"iterations": 2, "batch_size": 2, "accumulate": 1, "learning_rate": 1e-6},
        "output": {"log_every": 1, "notice": "for <tests> only"},
    }
    folder = tmp_path_factory.mktemp("run")
    train(recipe_from_table(table), output=folder, say=lambda _: None)
    return folder


class Tags(HTMLParser):
    """Every start tag with its attributes; complains of tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def addresses(page: str) -> Iterator[str]:
    parser = Tags()
    parser.feed(page)
    assert parser.open == []
    for tag, attributes in parser.seen:
        assert tag not in ("script", "link", "iframe")
        yield from (str(attributes[name]) for name in ("src", "href") if name in attributes)


def test_training_leaves_a_report_that_needs_nothing_else(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    sources = list(addresses(page))
    assert len(sources) == 2, "of three pictures the best and the worst are shown"
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "http" not in page.replace('charset="utf-8"', "")
    for text in ("Training of small", "Loss", "Learning rate of the backbone", "Mean IoU on val",
                 "dark &lt;1&gt;", "for &lt;tests&gt; only", "Worst images of 3",
                 "learning_rate = 1e-06"):  # fmt: skip
        assert text in page, text
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert f"{evaluation['miou']:.3f} at the end" in page
    for value in evaluation["iou"].values():
        assert value is None or f"<td>{value:.3f}</td>" in page


def test_the_folder_alone_gives_the_same_report(finished: Path) -> None:
    before = (finished / "report.html").read_text()
    assert write_report(finished).read_text() == before


def test_the_recipe_in_the_folder_is_the_one_that_ran(finished: Path) -> None:
    config = load_recipe(finished / "recipe.toml")
    assert config.optimizer.learning_rate == 1e-6
    assert tomllib.loads(to_toml(config)) == read_record(finished).table
    odd = recipe_from_table({"name": 'a "quoted"\\ name ü', "seed": 3})
    assert tomllib.loads(to_toml(odd))["name"] == odd.name


def write_log(folder: Path, *, end: str = "") -> Path:
    text = "".join(json.dumps(line) + "\n" for line in LINES)
    (folder / "log.jsonl").write_text(text + end)
    return folder


def test_a_run_that_goes_on_is_reported_as_far_as_it_is(tmp_path: Path) -> None:
    write_log(tmp_path, end='{"iteration": 80, "lo')  # a line that a kill cut short
    (tmp_path / "recipe.toml").write_text('name = "half"\n[optimizer]\niterations = 100\n')
    page = write_report(tmp_path).read_text()
    assert list(addresses(page)) == []
    assert "Confusion" not in page
    assert summarise(read_record(tmp_path)) == (
        "60 of 100 iterations in 4 min; mean IoU 0.400 at the end, 0.500 at best (iteration 40)."
    )


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="log.jsonl does not exist; give the folder of a"):
        write_report(tmp_path)
    write_log(tmp_path)
    (tmp_path / "log.jsonl").write_text("no json\n{}\n")
    with pytest.raises(ValueError, match=r"log.jsonl, line 1 is not JSON"):
        write_report(tmp_path)


def test_data_that_has_moved_is_found_again(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a folder; give the one that holds the"):
        write_report(finished, data_root=tmp_path / "nowhere")


def test_a_chart_goes_through_its_points() -> None:
    chart = line_chart("x < y", [(0, 0.0), (50, float("nan")), (100, 1.0)], is_marked=True)
    assert "x &lt; y" in chart
    line = re.search(r'points="([^"]+)"', chart)
    assert line is not None
    points = [tuple(map(float, pair.split(","))) for pair in line[1].split()]
    assert len(points) == 2
    assert points[0][0] < points[1][0]
    assert points[0][1] > points[1][1], "larger values stand higher"
    assert chart.count("<circle") == 2
    assert line_chart("empty", []) == ""


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 2200, [0, 500, 1000, 1500, 2000, 2500]),
        (0.5, 0.5, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]),
        (0, 0, [-1, -0.5, 0, 0.5, 1]),
        (0, 7e-4, [0, 2e-4, 4e-4, 6e-4, 8e-4]),
    ],
)
def test_ticks_are_round_and_enclose_the_range(
    low: float, high: float, expected: list[float]
) -> None:
    given = ticks(low, high)
    assert given[0] <= low
    assert given[-1] >= high
    np.testing.assert_allclose(given, expected, atol=1e-12)


def test_numbers_are_short() -> None:
    assert [number(v) for v in (0, 0.25, 5e-4, 2200, 2.5e-5)] == [
        "0", "0.25", "5e-4", "2,200", "2.5e-5",
    ]  # fmt: skip
