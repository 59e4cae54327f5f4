"""Networks with seeded weights of plausible size, and entries for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from atrous.labels import LabelSet, voc_palette
from atrous.models import DeepLab
from atrous.network_options import NetworkOptions
from atrous.preprocess import Preprocess
from atrous.weights import Entry
from atrous.weights.checkpoint import empty_model

TINY = {"name": "deeplabv2_efficientnet_lite0", "num_classes": 3, "head": "conv1x1"}

MakeModel = Callable[..., DeepLab]
MakeEntry = Callable[..., Entry]


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """Build a network in evaluation mode whose every number is drawn, batch statistics included."""

    def make(seed: int = 0, **options: Any) -> DeepLab:
        model = empty_model(NetworkOptions(**{**TINY, **options}))
        generator = torch.Generator().manual_seed(seed)
        drawn = {key: _draw(key, value, generator) for key, value in model.state_dict().items()}
        model.load_state_dict(drawn, assign=True)
        return model.eval()

    return make


def _draw(key: str, like: Tensor, generator: torch.Generator) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if like.ndim > 1:
        scale = math.sqrt(2 / math.prod(like.shape[1:]))
        return torch.randn(like.shape, generator=generator) * scale
    if key.endswith(("running_var", "bn.weight")):
        return torch.rand(like.shape, generator=generator) + 0.5
    return torch.randn(like.shape, generator=generator) * 0.2


@pytest.fixture(scope="session")
def make_entry() -> MakeEntry:
    def make(**changes: Any) -> Entry:
        fields: dict[str, Any] = {
            "name": "tiny",
            "options": NetworkOptions(**TINY),
            "label_set": LabelSet(("sky", "road", "tree"), voc_palette(3)),
            "preprocess": Preprocess(padding="none"),
            "licence": "CC0",
            "source": "drawn at random",
        }
        return Entry(**{**fields, **changes})

    return make


@pytest.fixture
def image() -> Tensor:
    """Return a normalised image, (1, 3, 33, 41)."""
    return torch.randn(1, 3, 33, 41, generator=torch.Generator().manual_seed(3)) * 50
