"""Write weights with the parameters that a search found."""

from __future__ import annotations

from pathlib import Path

import torch

from ..predict import Segmenter
from ..weights import save_weights
from .tuning import Tuning


def save_tuned(
    path: Path, segmenter: Segmenter, tuning: Tuning, *, probabilities_given: bool = False
) -> None:
    """Write the same weights with a new entry, in half precision where that loses nothing.

    Args:
        path: The .safetensors file to write.
        segmenter: The segmenter that was tuned.
        tuning: The result of the search.
        probabilities_given: Whether the scores came from elsewhere, not from the segmenter.
    """
    how = ""
    if probabilities_given:
        how = " given probabilities"
    else:
        if len(segmenter.scales) > 1:
            how += " scales " + ", ".join(map(str, segmenter.scales))
        how += " flip" if segmenter.flip else ""
    state = segmenter.model.state_dict()
    is_half = all(bool((t.half().float() == t.float()).all()) for t in state.values() if t.ndim > 1)
    dtype = torch.float16 if is_half else torch.float32
    save_weights(path, state, tuning.update(segmenter.entry, how), dtype=dtype)
