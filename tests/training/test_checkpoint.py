"""Checkpoints survive what goes wrong while they are written."""

import pytest
import torch

from atrous.training.checkpoint import load_checkpoint, save_checkpoint


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"iteration": 3, "model": {"w": torch.arange(4)}})
    state = load_checkpoint(path)
    assert state["iteration"] == 3
    assert torch.equal(state["model"]["w"], torch.arange(4))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("failure", [RuntimeError("unexpected pos"), OSError(28, "No space left")])
def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path, monkeypatch, failure):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"iteration": 3})

    def write_a_little_and_fail(_state, file):
        file.write(b"half of it")
        raise failure

    monkeypatch.setattr(torch, "save", write_a_little_and_fail)
    with pytest.raises(OSError, match=r"No space left|checkpoint.pt could not be written"):
        save_checkpoint(path, {"iteration": 4})
    assert load_checkpoint(path)["iteration"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]
