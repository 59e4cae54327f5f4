"""Checkpoints of a run: everything that the next step depends on, in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a crash at any moment leaves the old one or the new one.

    Raises:
        OSError: If it cannot be written; the old one stays.
    """
    temporary = path.with_suffix(".partial")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except RuntimeError as error:  # how torch reports a write that failed half-way
        raise OSError(f"{path} could not be written (is the disk full?): {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; there is no run to resume in {path.parent}"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ValueError(f"{path} is not a readable checkpoint: {error}") from error
