"""The scripts in examples/ run as their first lines say, on small data made here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from atrous.image_io import read_labels
from atrous.scores import read_scores
from atrous.weights import read_weights

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SIZE_HW = (48, 64)


def run(script: str, *arguments: str | Path) -> str:
    """Run a script in a process of its own, as a user does; warnings are errors there, too."""
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def truth() -> NDArray[np.uint8]:
    """Make a label map: 1 in the right half, else 0."""
    labels = np.zeros(SIZE_HW, np.uint8)
    labels[:, SIZE_HW[1] // 2 :] = 1
    return labels


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two images, dark where `truth` is 0 and bright where it is 1."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for stem in ("a", "b"):
        noise = rng.integers(0, 40, (*SIZE_HW, 3), np.uint8)
        Image.fromarray(noise + 180 * truth()[..., None]).save(tmp_path / f"images/{stem}.png")
    return tmp_path / "images"


def blurred() -> NDArray[np.float32]:
    """Give scores of class 1 that cross one half eight columns left of where `truth` changes."""
    columns = np.arange(SIZE_HW[1], dtype=np.float32) - SIZE_HW[1] / 2 + 8
    return np.broadcast_to(1 / (1 + np.exp(-columns / 8)), SIZE_HW).copy()


def test_pseudo_labels_follow_the_image(images: Path, tmp_path: Path) -> None:
    (tmp_path / "cams").mkdir()
    for stem in ("a", "b"):
        cam = {"keys": np.array([7]), "high_res": blurred()[None]}
        np.save(tmp_path / f"cams/{stem}.npy", cam, allow_pickle=True)
    output = run("pseudo_labels_from_cams.py", images, tmp_path / "cams", tmp_path / "out")
    assert "a.png: labels [0, 8]" in output
    assert "2 pseudo-labels" in output
    for stem in ("a", "b"):
        labels = read_labels(tmp_path / f"out/{stem}.png")
        assert set(np.unique(labels)) <= {0, 8, 255}
        known = labels != 255
        assert known.mean() > 0.5
        assert ((labels == 8) == (truth() == 1))[known].mean() > 0.95


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
def test_scores_of_another_program_become_labels(images: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "scores").mkdir()
    scores = np.stack([1 - blurred(), blurred()])
    for stem in ("a", "b"):
        np.save(tmp_path / f"scores/{stem}.npy", np.log(scores) if kind == "logits" else scores)
    words = ("--logits",) if kind == "logits" else ()
    output = run("crf_on_other_scores.py", images, tmp_path / "scores", tmp_path / "out", *words)
    assert "a.png: 2 classes, 10.9% of the labels changed" in output
    for stem in ("a", "b"):
        assert np.array_equal(read_labels(tmp_path / f"out/{stem}.png"), truth())
        refined = read_scores(tmp_path / f"out/{stem}.npz", SIZE_HW)
        assert np.array_equal(refined.probabilities.argmax(axis=0), truth())


def test_finetuning_writes_weights_and_scores_them(images: Path, tmp_path: Path) -> None:
    for folder in ("labels", "splits"):
        (tmp_path / folder).mkdir()
    for stem in ("a", "b"):
        Image.fromarray(truth()).save(tmp_path / f"labels/{stem}.png")
    (tmp_path / "splits/train.txt").write_text("a\n")
    (tmp_path / "splits/val.txt").write_text("b\n")
    (tmp_path / "classes.txt").write_text("dark\nbright\n")
    few = ("--iterations", "2", "--crop", "33")
    output = run("finetune_on_a_folder.py", tmp_path, tmp_path / "runs/first", *few)
    assert "dark: IoU 0." in output
    assert "on 1 images" in output
    _, entry = read_weights(tmp_path / "runs/first/finetuned.safetensors")
    assert entry.label_set.names == ("dark", "bright")
    assert (tmp_path / "runs/first.toml").is_file()


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_is_short_and_run_here(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert f"python examples/{script.name} " in text
    assert len(text.splitlines()) <= 65
    assert script.name in Path(__file__).read_text(encoding="utf-8")
