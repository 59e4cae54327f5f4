"""A small network with random weights, its entry, and a photo of random blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from atrous.labels import LabelSet, voc_palette
from atrous.models import DeepLab, create_model
from atrous.preprocess import Preprocess
from atrous.weights import Entry

Pair = tuple[DeepLab, Entry]

# Random blocks of 8x8 pixels, so that neighbouring pixels are related; 45 rows, 61 columns.
BLOTCHES = np.kron(
    np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
)[:45, :61]


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., Pair]:
    """Build a network in evaluation mode that predicts every class somewhere, and its entry."""

    def make(
        *,
        classes: int = 3,
        padding: str = "none",
        crf: dict[str, float] | None = None,
        use_crf: bool = False,
        **options: Any,
    ) -> Pair:
        options = {"name": "deeplabv2_resnet18", "head": "conv1x1"} | options
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = create_model(num_classes=classes, **options).eval()
        names = tuple(f"class {index}" for index in range(classes))
        colours = (voc_palette(256) * 2)[:classes]
        entry = Entry(
            name="drawn",
            options=model.options,
            label_set=LabelSet(names, colours, 255 if classes < 256 else None),
            preprocess=Preprocess(
                channel_order="rgb", mean=(127.0,) * 3, std=(64.0,) * 3, padding=padding
            ),
            crf=crf,
            use_crf=use_crf,
            licence="CC0",
            source="drawn at random",
        )
        _balance(model, entry.preprocess.normalise(BLOTCHES)[None])
        return model, entry

    return make


@torch.no_grad()
def _balance(model: DeepLab, tensor: Tensor) -> None:
    """Shift and scale the classifier so that every class has scores of mean 0 and deviation 2."""
    scores, classifier = model.forward_scales(tensor)[0], model.head.branches[0]
    std, mean = torch.std_mean(scores, (0, 2, 3))
    classifier.weight *= 2 / std.view(-1, 1, 1, 1)
    classifier.bias.copy_((classifier.bias - mean) * 2 / std)


@pytest.fixture(scope="session")
def pair(make_pair: Callable[..., Pair]) -> Pair:
    """Share one network, which tests must not change."""
    return make_pair()


@pytest.fixture
def photo() -> np.ndarray:
    return BLOTCHES.copy()
