"""`atrous train` and `atrous evaluate`, as a user calls them."""

import datetime
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from atrous.cli.main import main
from atrous.weights.checkpoint import read_entry

pytestmark = pytest.mark.usefixtures("narrow_resnet18")

RECIPE = """
name = "small"
[data]
dataset = "folder"
workers = 0
[augment]
crop_hw = [33, 33]
[network]
name = "deeplabv2_resnet18"
head = "conv1x1"
[optimizer]
iterations = 2
batch_size = 2
accumulate = 1
[output]
log_every = 1
"""


@pytest.fixture
def root(tmp_path):
    data = tmp_path / "data"
    rng = np.random.default_rng(0)
    for folder in ("images", "labels", "splits"):
        (data / folder).mkdir(parents=True)
    for name in ("a", "b", "c"):
        image = rng.integers(0, 256, (34, 40, 3), np.uint8)
        Image.fromarray(image).save(data / f"images/{name}.jpg")
        Image.fromarray((image[..., 0] > 128).astype(np.uint8)).save(data / f"labels/{name}.png")
    (data / "splits/train.txt").write_text("a\nb")
    (data / "splits/val.txt").write_text("c")
    (tmp_path / "small.toml").write_text(RECIPE)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_train_then_evaluate_a_users_own_folder(root):
    trained = run("train", root / "small.toml", "--data", root / "data", "-o", root / "run")
    assert trained.exit_code == 0, trained.output
    assert "2/2  loss" in trained.output
    weights = root / "run/small.safetensors"
    assert f"wrote {weights}" in trained.output.replace("\n", "")

    scored = run(
        "evaluate", "folder", root / "data", "--weights", weights, "-o", root / "report.json"
    )
    assert scored.exit_code == 0, scored.output
    assert "mean IoU" in scored.output
    report = json.loads((root / "report.json").read_text())
    assert report["images"] == 1
    assert f"{report['miou']:.3f}" in scored.output


def test_set_replaces_values_of_the_recipe(root):
    result = run(
        "train", root / "small.toml", "--data", root / "data", "-o", root / "run",
        "--set", "optimizer.iterations=1", "--set", "name=other",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert (root / "run/other.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nothing.toml"], "nothing.toml does not exist"),
        (["train", "{root}/small.toml"], "give the data set's folder with --data"),
        (["train", "{root}/small.toml", "--set", "optimizer.lr=1"], "unknown key 'optimizer.lr'"),
        (
            ["train", "{root}/small.toml", "--data", "{root}/data", "--val-data", "{root}/no"],
            "no is not a folder",
        ),
        (["evaluate", "folder", "{root}/nowhere"], "nowhere is not a folder"),
        (["evaluate", "voc", "{root}/data"], "no data set is called 'voc'"),
        (["evaluate", "folder", "{root}/data", "--split", "test"], "splits there: train, val"),
        (["evaluate", "folder", "{root}/data", "--weights", "street-light"], "'street-light'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(root, arguments, message):
    result = run(*(argument.format(root=root) for argument in arguments))
    assert result.exit_code == 1
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_scales_that_are_no_numbers_are_wrong_usage(root):
    result = run("evaluate", "folder", root / "data", "--scales", "1,big")
    assert result.exit_code == 2
    assert "'1,big' is not a list such as 1,0.75,0.5" in result.output


def test_scores_on_the_training_split_come_with_one_line_of_warning(root):
    run("train", root / "small.toml", "--data", root / "data", "-o", root / "run")
    weights = root / "run/small.safetensors"
    told = run("evaluate", "folder", root / "data", "--split", "train", "--weights", weights)
    assert told.exit_code == 0, told.output
    (line,) = [line for line in told.stderr.splitlines() if "Warning" in line]
    assert "small was trained on folder/train" in line
    fine = run("evaluate", "folder", root / "data", "--weights", weights)
    assert "Warning" not in fine.output


def test_weights_say_what_they_were_trained_on_and_how(root):
    options = ["--set", "output.licence=CC0-1.0", "--set", "output.source=made up"]
    run("train", root / "small.toml", "--data", root / "data", "-o", root / "run", *options)
    entry = read_entry(root / "run/small.safetensors")
    assert entry.trained_on == ("folder/train",)
    assert set(entry.metrics["folder/val"]) == {"miou", "pixel_accuracy", "class_accuracy"}
    assert (entry.recipe, entry.licence, entry.source) == ("small", "CC0-1.0", "made up")
    assert datetime.date.fromisoformat(entry.date)
