"""The reference's weights in this project's network, and the oracles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from atrous.models import DeepLab, create_model

TESTS = Path(__file__).resolve().parents[1]

# rows, columns, seed, images
INPUTS = {"97x129": (97, 129, 3, 1), "65x65b2": (65, 65, 4, 2)}

Golden = Callable[[str], dict[str, NDArray[Any]]]


@pytest.fixture(scope="session")
def reference_weights(load_oracle: Callable[[str], ModuleType]) -> ModuleType:
    return load_oracle("reference_weights")


@pytest.fixture(scope="session")
def golden() -> Golden:
    def load(name: str) -> dict[str, NDArray[Any]]:
        with np.load(TESTS / "golden" / "network" / f"{name}.npz") as arrays:
            return dict(arrays)

    return load


@pytest.fixture(scope="session")
def reference_state(reference_weights: ModuleType) -> dict[str, Tensor]:
    """Return the reference's weights under this project's names."""
    return {
        reference_weights.our_name(name): torch.from_numpy(np.asarray(value))
        for name, value in reference_weights.reference_state().items()
    }


@pytest.fixture(scope="session")
def reference_model(reference_state: dict[str, Tensor]) -> Callable[..., DeepLab]:
    """Build ResNet-101 with the reference's weights, for `create_model`'s other options."""

    def build(**options: Any) -> DeepLab:
        with torch.device("meta"):  # skips the random weights
            model = create_model("deeplabv2_resnet101", num_classes=21, **options)
        model.load_state_dict(reference_state, assign=True)
        return model.eval()

    return build


@pytest.fixture(scope="session")
def reference_image(reference_weights: ModuleType) -> Callable[[str], Tensor]:
    def draw(name: str) -> Tensor:
        return torch.from_numpy(reference_weights.image(*INPUTS[name]))

    return draw
