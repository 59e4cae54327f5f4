"""A data set on which the dense CRF helps, one on which it harms, and saved scores for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atrous.data import Dataset, load_dataset
from atrous.image_io import write_probabilities
from atrous.labels import LabelSet, voc_palette
from atrous.models import create_model
from atrous.predict import Segmenter
from atrous.preprocess import Preprocess
from atrous.weights import Entry

SIZE_HW = (24, 33)
CLASSES = ("left", "right", "never")
IMAGES = 8


@dataclass(frozen=True)
class Case:
    """A split of a folder, and the scores that somebody saved for its images."""

    root: Path
    scores: Path
    dataset: Dataset


def _write(root: Path, draw: Callable[[np.random.Generator], tuple[np.ndarray, ...]]) -> Case:
    for folder in ("images", "labels", "splits", "scores"):
        (root / folder).mkdir(parents=True)
    label_set = LabelSet(CLASSES, voc_palette(3))
    for index in range(IMAGES):
        image, labels, probabilities = draw(np.random.default_rng(index))
        Image.fromarray(image).save(root / f"images/p{index}.png")
        Image.fromarray(labels).save(root / f"labels/p{index}.png")
        write_probabilities(root / f"scores/p{index}.npz", probabilities, label_set)
    (root / "splits/val.txt").write_text("\n".join(f"p{index}" for index in range(IMAGES)))
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return Case(root, root / "scores", load_dataset("folder", root, split="val"))


def _probabilities(guess: np.ndarray, trust: float) -> np.ndarray:
    others = np.full((3, *guess.shape), (1 - trust) / 2, np.float32)
    np.put_along_axis(others, guess[None].astype(np.int64), trust, axis=0)
    return others


def _noisy(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Two plain halves, and a network that is wrong at single pixels."""
    labels = np.zeros(SIZE_HW, np.uint8)
    labels[:, int(rng.integers(10, 23)) :] = 1
    image = np.where(labels[..., None] == 1, 200, 40).astype(np.uint8).repeat(3, axis=2)
    image += rng.integers(0, 5, image.shape, np.uint8)
    guess = np.where(rng.random(SIZE_HW) < 0.15, 1 - labels, labels)
    return image, labels, _probabilities(guess, 0.6)


def _thin(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Thin stripes that the network sees and the photo does not show."""
    labels = np.zeros(SIZE_HW, np.uint8)
    labels[:, int(rng.integers(2, 5)) :: 5] = 1
    image = np.full((*SIZE_HW, 3), 128, np.uint8)
    return image, labels, _probabilities(labels, 0.6)


@pytest.fixture
def noisy(tmp_path: Path) -> Case:
    return _write(tmp_path / "noisy", _noisy)


@pytest.fixture
def thin(tmp_path: Path) -> Case:
    return _write(tmp_path / "thin", _thin)


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_model("deeplabv2_efficientnet_lite0", 3, head="conv1x1").eval()
    entry = Entry(
        name="drawn",
        options=model.options,
        label_set=LabelSet(CLASSES, voc_palette(3)),
        preprocess=Preprocess(),
        metrics={"some/val": {"miou": 0.5}},
        licence="none",
        source="drawn at random",
    )
    return Segmenter((model, entry))
