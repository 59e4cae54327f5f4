"""What every layout's round trip needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from atrous.models import DeepLab
from atrous.network_options import NetworkOptions
from atrous.weights.checkpoint import empty_model
from atrous.weights.convert import Conversion

SameLogits = Callable[[Conversion, DeepLab, Tensor], None]


@pytest.fixture(scope="session")
def same_logits() -> SameLogits:
    """Assert that a conversion rebuilds the original network exactly."""

    def check(conversion: Conversion, original: DeepLab, image: Tensor) -> None:
        model = empty_model(NetworkOptions(**conversion.options))
        model.load_state_dict(conversion.state, assign=True)
        with torch.no_grad():
            assert torch.equal(model.eval()(image), original(image))

    return check
