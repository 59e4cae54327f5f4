"""Write, read and check the checkpoint of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..atomic_file import open_atomically
from ..errors import InputError, TrainingError

# Keys of a recipe that may change when a run is resumed: where and how it is computed, not what.
FREE_KEYS = (
    "data.root", "data.val_root", "data.workers", "loss.msc_backward", "compute.grad_checkpointing",
    "compute.channels_last", "compute.compile", "output.log_every", "output.tensorboard",
)  # fmt: skip


# Keys of checkpoints of version 0.1, and their present names.
RENAMED_KEYS = {
    "config": "recipe",
    "owes_scores": "evaluation_pending",
    "before": "init_trained_on",
}


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; a crash at any moment leaves the old file or the new one.

    Raises:
        OSError: If it cannot be written; the old file is kept.
    """
    try:
        with open_atomically(path) as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError when a write fails
        last = "; the last checkpoint is intact" if path.exists() else ""
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, f"{error.strerror}{last}", str(path)) from error
        raise OSError(f"{path} could not be written (is the disk full?){last}") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        FileNotFoundError: If the file does not exist.
        InputError: If the file cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; there is no run to resume in {path.parent}. Start it without "
            "--resume"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many classes for a damaged file
        raise InputError(f"{path} is not a readable checkpoint: {error}") from error


def check_loss(loss: float, iteration: int, folder: Path) -> None:
    """Stop a run if its loss is not finite.

    Raises:
        TrainingError: Names the iteration and says what to do.
    """
    if not math.isfinite(loss):
        raise TrainingError(f"the loss is {loss} at iteration {iteration}; {_advise(folder)}")


def check_weights(model: nn.Module, iteration: int, folder: Path) -> None:
    """Stop a run if a weight is not finite, before it overwrites the last good checkpoint.

    A step with a finite loss can still give such weights.

    Raises:
        TrainingError: Names the parameter and says what to do.
    """
    for name, value in model.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise TrainingError(
                f"{name} is no longer finite after iteration {iteration}; {_advise(folder)}"
            )


def _advise(folder: Path) -> str:
    return (
        "start again with a lower optimizer.learning_rate. The last checkpoint in "
        f"{folder} is intact"
    )


def check_same_recipe(given: dict[str, Any], saved: dict[str, Any], where: str = "") -> None:
    """Refuse to resume with another recipe; the keys in `FREE_KEYS` may differ.

    Raises:
        InputError: Names the first key that differs.
    """
    for key, value in given.items():
        other = saved.get(key)
        if isinstance(value, dict):
            check_same_recipe(value, other or {}, f"{where}{key}.")
        elif value != other and f"{where}{key}" not in FREE_KEYS:
            raise InputError(
                f"the checkpoint was made with {where}{key} = {other!r}, the recipe has "
                f"{value!r}; resume with the same recipe, or start in another folder"
            )
