"""Pickles are read for their tensors alone; nothing in them runs."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from atrous.weights.convert import convert_weights
from atrous.weights.convert.pytorch_file import is_pytorch_file, read_state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pth"


class Hostile:
    """Makes a directory as soon as an unpickler believes it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("writer", ["torch", "torch_legacy", "pickle"])
def test_hostile_pickle_does_not_run(path: Path, writer: str) -> None:
    target = path.parent / "pwned"
    content = {"state_dict": {"conv1.weight": torch.zeros(1)}, "epoch": Hostile(target)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    with pytest.raises(ValueError, match=r"net.pth is damaged or holds more than tensors.*refused"):
        convert_weights(path)
    assert not target.exists()
    torch.load(path, weights_only=False) if writer != "pickle" else pickle.loads(path.read_bytes())
    assert target.exists()  # the file is as hostile as it claims


def test_whole_module_is_refused(path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ValueError, match="holds more than tensors"):
        read_state(path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_both_formats_of_torch_are_read(path: Path, is_zip: bool) -> None:
    torch.save({"a": torch.arange(3.0)}, path, _use_new_zipfile_serialization=is_zip)
    assert is_pytorch_file(path)
    assert torch.equal(read_state(path)["a"], torch.arange(3.0))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    ],
)
def test_checkpoints_and_data_parallel_prefixes_are_unwrapped(path: Path, wrap: Any) -> None:
    torch.save(wrap({"a.weight": torch.ones(2), "b.bias": torch.zeros(1)}), path)
    assert list(read_state(path)) == ["a.weight", "b.bias"]


@pytest.mark.parametrize("content", [[torch.ones(1)], torch.ones(2), {}, {"state_dict": {}}])
def test_other_contents_are_refused(path: Path, content: object) -> None:
    torch.save(content, path)
    with pytest.raises(ValueError, match="not a state dict of tensors"):
        read_state(path)


def test_values_that_are_no_tensors_are_named(path: Path) -> None:
    torch.save({"weight": torch.ones(1), "epoch": 5, "lr": 0.1}, path)
    with pytest.raises(ValueError, match=r"2 values that are not tensors \(epoch, lr\)"):
        read_state(path)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_cut_files_are_refused(path: Path, is_zip: bool, kept: float) -> None:
    torch.save({"a": torch.ones(5000)}, path, _use_new_zipfile_serialization=is_zip)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match=r"not a readable .pth file|is damaged"):
        read_state(path)


def test_damage_anywhere_is_a_value_error_or_harmless(path: Path) -> None:
    torch.save({"a": torch.ones(4)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position] + b"\xff" + content[position + 1 :])
        with contextlib.suppress(ValueError):
            read_state(path)
