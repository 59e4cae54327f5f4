"""`atrous weights`: what is here, under which licence, and what others publish."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from atrous.cli.main import main
from atrous.crf import CRFParams
from atrous.labels import LabelSet, voc_palette
from atrous.network_options import NetworkOptions
from atrous.preprocess import Preprocess
from atrous.weights import Entry, catalog, save_weights
from atrous.weights.checkpoint import empty_model

OPTIONS = {"name": "deeplabv2_efficientnet_lite0", "num_classes": 2, "head": "conv1x1"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["weights", *arguments])


@pytest.fixture
def _one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry(
        name="street-tiny",
        options=NetworkOptions(**OPTIONS),
        label_set=LabelSet(("sky", "road"), voc_palette(2)),
        preprocess=Preprocess("rgb", (127, 127, 127), (128, 128, 128), "none"),
        crf=CRFParams(),
        metrics={"camvid/val 360x480": {"miou": 0.6789, "pixel_accuracy": 0.9}},
        licence="CC BY-NC-SA 3.0",
        notice="non-commercial research only",
        source="trained by the tests",
        date="2024-05-06",
    )
    state = {
        k: torch.zeros_like(v)
        for k, v in empty_model(NetworkOptions(**OPTIONS)).state_dict().items()
    }
    save_weights(tmp_path / "street-tiny.safetensors", state, entry)
    monkeypatch.setattr(catalog, "BUNDLED", tmp_path)


@pytest.mark.usefixtures("_one_entry")
def test_list_shows_entries_and_what_others_publish() -> None:
    result = run()
    assert result.exit_code == 0, result.output
    for text in (
        "street-tiny  (12.0 MB)",
        "deeplabv2_efficientnet_lite0, 2 classes",
        "camvid/val 360x480: miou 0.679, pixel_accuracy 0.900",
        "CC BY-NC-SA 3.0; non-commercial research only",
        "deeplabv2_resnet101_msc-vocaug-20000.pth",
        "warning: train2_iter_20000 was trained on train and val together",
        "atrous convert train_iter_20000.caffemodel --dataset voc -o voc.safetensors",
    ):
        assert text in result.output


@pytest.mark.usefixtures("_one_entry")
def test_name_shows_everything() -> None:
    result = run("street-tiny")
    assert result.exit_code == 0, result.output
    for text in (
        "sky, road",
        "RGB minus (127, 127, 127), divided by (128, 128, 128); padding none",
        "off by default (iterations 10, spatial_weight 3",
        "CC BY-NC-SA 3.0; non-commercial research only",
        "trained by the tests",
        "2024-05-06",
        "in this package",
    ):
        assert text in result.output
    assert "sha256" not in result.output


@pytest.mark.usefixtures("_one_entry")
def test_unknown_name_lists_near_ones() -> None:
    result = run("street-tyni")
    assert result.exit_code == 1
    expected = "Error: no weights are called 'street-tyni'; did you mean street-tiny?"
    assert result.output.startswith(expected)
    assert result.output.count("\n") == 1


def test_empty_package_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "BUNDLED", tmp_path)
    result = run()
    assert result.exit_code == 0, result.output
    assert result.output.startswith("This package contains no weights.")


@pytest.mark.parametrize("published", catalog.PUBLISHED_ELSEWHERE, ids=lambda p: p.files[:20])
def test_printed_commands_are_commands(published: catalog.Published) -> None:
    """Every `atrous convert …` that users are told to run parses, up to the missing file."""
    program, *arguments = published.command.split()
    if program == "atrous":
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 1
        assert "does not exist" in result.output
