"""Reads .pth files without executing code in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ...errors import WeightsError

WRAPPERS = ("state_dict", "model")  # keys under which training scripts put the state dict
DATA_PARALLEL = "module."
FIRST_BYTES = (b"PK\x03\x04", b"\x80\x02")  # torch's zip files, and the older pickle files


def is_pytorch_file(path: Path) -> bool:
    """Whether the first bytes are those of a .pth file, whatever its name."""
    with path.open("rb") as file:
        return file.read(4).startswith(FIRST_BYTES)


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a .pth file, which may be a whole training checkpoint.

    Args:
        path: A file that `torch.save` wrote.

    Returns:
        Name -> tensor on the CPU, without the `module.` prefix of DataParallel.

    Raises:
        WeightsError: If the file is damaged, or holds anything other than a state dict of tensors,
            such as whole modules or code.
    """
    content = _load(path)
    while isinstance(content, dict):
        inside = [content[key] for key in WRAPPERS if isinstance(content.get(key), dict)]
        if not inside:
            break
        content = inside[0]
    if not isinstance(content, dict) or not content:
        raise WeightsError(
            f"{path} holds {type(content).__name__}, not a state dict of tensors; save "
            "model.state_dict()"
        )
    state = cast("dict[Any, Any]", content)
    others = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise WeightsError(
            f"{path} holds {len(others)} values that are not tensors ({', '.join(others[:4])}); "
            "save the model's state_dict() alone, or under the key 'state_dict'"
        )
    names = {str(key): value for key, value in state.items()}
    if all(name.startswith(DATA_PARALLEL) for name in names):
        return {name.removeprefix(DATA_PARALLEL): value for name, value in names.items()}
    return names


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is damaged or holds more than tensors, and loading it could run code, so it "
            "is refused; save the model's state_dict() with a program that you trust"
        ) from error
    except Exception as error:  # torch raises many kinds for a damaged file
        raise WeightsError(
            f"{path} is not a readable .pth file; it may be cut short: {error}"
        ) from error
