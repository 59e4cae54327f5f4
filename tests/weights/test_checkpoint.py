"""Weight files keep values and entry; damaged and foreign ones are refused with one clear error."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from atrous.models import DeepLab
from atrous.network_options import NetworkOptions
from atrous.weights import Entry, read_weights, save_weights
from atrous.weights.checkpoint import check_state, empty_model, read_entry

MakeModel = Callable[..., DeepLab]
MakeEntry = Callable[..., Entry]


@pytest.fixture
def saved(tmp_path: Path, make_model: MakeModel, make_entry: MakeEntry) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_weights(path, make_model().state_dict(), make_entry())
    return path


def test_file_gives_back_state_and_entry(
    saved: Path, make_model: MakeModel, make_entry: MakeEntry
) -> None:
    state, entry = read_weights(saved)
    original = make_model().state_dict()
    assert set(state) == {key for key in original if "num_batches_tracked" not in key}
    assert all(torch.equal(state[key], original[key]) for key in state)
    assert entry == make_entry()
    assert read_entry(saved) == entry


def test_half_rounds_filters_and_keeps_vectors(
    tmp_path: Path, make_model: MakeModel, make_entry: MakeEntry
) -> None:
    state = make_model().state_dict()
    state["backbone.stem_bn.running_var"][:] = 123_456.7  # beyond float16
    path = tmp_path / "half.safetensors"
    save_weights(path, state, make_entry(), dtype=torch.float16)
    read, _ = read_weights(path)
    assert {tensor.dtype for tensor in read.values()} == {torch.float32}
    for key, tensor in read.items():
        expected = state[key].half().float() if tensor.ndim > 1 else state[key]
        assert torch.equal(tensor, expected)
    full = sum(tensor.nbytes for tensor in read.values())
    assert path.stat().st_size < 0.55 * full


def test_equal_weights_are_equal_files(
    tmp_path: Path, saved: Path, make_model: MakeModel, make_entry: MakeEntry
) -> None:
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    again = tmp_path / "again.safetensors"
    save_weights(again, make_model().state_dict(), make_entry())
    assert hashlib.sha256(again.read_bytes()).hexdigest() == digest


def test_strided_weights_are_stored_in_order(
    tmp_path: Path, make_model: MakeModel, make_entry: MakeEntry
) -> None:
    model = make_model().to(memory_format=torch.channels_last)
    path = tmp_path / "strided.safetensors"
    save_weights(path, model.state_dict(), make_entry())
    assert torch.equal(read_weights(path)[0]["backbone.stem.weight"], model.backbone.stem.weight)


def test_values_that_do_not_fit_the_type_are_refused(
    tmp_path: Path, make_model: MakeModel, make_entry: MakeEntry
) -> None:
    state = make_model().state_dict()
    state["head.branches.0.weight"][0] = 1e6
    path = tmp_path / "half.safetensors"
    with pytest.raises(ValueError, match=r"head.branches.0.weight .* not finite in torch.float16"):
        save_weights(path, state, make_entry(), dtype=torch.float16)
    assert not list(tmp_path.iterdir())


def test_state_of_another_network_is_not_written(
    tmp_path: Path, make_model: MakeModel, make_entry: MakeEntry
) -> None:
    with pytest.raises(ValueError, match=r"the state for x.safetensors does not fit"):
        save_weights(
            tmp_path / "x.safetensors", make_model(num_classes=4).state_dict(), make_entry()
        )
    assert not list(tmp_path.iterdir())


def test_missing_folder_is_said(
    tmp_path: Path, make_model: MakeModel, make_entry: MakeEntry
) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere is not a folder; create it"):
        save_weights(
            tmp_path / "nowhere" / "x.safetensors", make_model().state_dict(), make_entry()
        )


def test_failed_write_leaves_the_old_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch, make_model: MakeModel, make_entry: MakeEntry
) -> None:
    before = saved.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save_weights(saved, make_model(seed=1).state_dict(), make_entry())
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("kept", [0, 5, 300, -1])
def test_cut_files_are_refused(saved: Path, kept: int) -> None:
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"tiny.safetensors is not a readable safetensors file"):
        read_weights(saved)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.safetensors"
    path.write_text("remember the milk " * 10)
    with pytest.raises(ValueError, match="is not a readable safetensors file"):
        read_entry(path)


def test_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone.safetensors does not exist"):
        read_weights(tmp_path / "gone.safetensors")


def test_files_without_entry_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file({"x": torch.zeros(2)}, path, {"format": "pt"})
    with pytest.raises(ValueError, match="has no weights entry"):
        read_weights(path)


def test_files_with_a_broken_entry_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({"x": torch.zeros(2)}, path, {"atrous_entry": "{}"})
    with pytest.raises(
        ValueError,
        match=r"odd.safetensors: the weights entry .* 'name' is missing",
    ):
        read_weights(path)


def test_mismatches_are_listed_with_their_number(make_model: MakeModel) -> None:
    model = make_model()
    state = model.state_dict()
    for key in [key for key in state if key.startswith("backbone.stages.0.")]:
        del state[key]
    state["extra.weight"] = torch.zeros(1)
    state["head.branches.0.weight"] = torch.zeros(21, 320, 1, 1)
    with pytest.raises(ValueError, match="it does not fit") as caught:
        check_state(model, state, source="it")
    message = str(caught.value)
    assert "deeplabv2_efficientnet_lite0 with 3 classes" in message
    assert "10 missing (backbone.stages.0.0.depthwise.weight" in message
    assert "and 6 more)" in message
    assert "1 unexpected (extra.weight)" in message
    assert "1 of wrong shape (head.branches.0.weight is 21x320x1x1, needed 3x320x1x1)" in message


@pytest.mark.parametrize("name", ["deeplabv2_resnet18", "deeplabv2_efficientnet_lite0"])
def test_empty_network_draws_no_random_number(name: str) -> None:
    before = torch.random.get_rng_state()
    model = empty_model(NetworkOptions(name=name, num_classes=2, upsampling="transposed"))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model.num_classes == 2
