"""The inference pipeline: sizes, padding, scales, mirror image, inputs, unchanged networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from atrous.errors import OutOfMemoryError
from atrous.image_io import read_labels, write_image
from atrous.models import DeepLab
from atrous.predict import Segmenter, check_device
from atrous.weights import Entry, save_weights

Pair = tuple[DeepLab, Entry]
MakePair = Callable[..., Pair]
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}  # float32 through one network


def close(result: np.ndarray, expected: Any) -> None:
    np.testing.assert_allclose(result, np.asarray(expected), **TOLERANCE)


# --- the steps ------------------------------------------------------------------------------------


def test_probabilities_are_the_networks_softmax_at_the_photos_size(
    pair: Pair, photo: np.ndarray
) -> None:
    model, entry = pair
    with torch.no_grad():
        logits = model.upsample(model(entry.preprocess(photo)), (45, 61))
    result = Segmenter(pair)(photo)
    close(result.probabilities, logits.softmax(1)[0])
    np.testing.assert_array_equal(result.labels, logits[0].argmax(0))


def test_the_drawn_network_sees_more_than_one_class(pair: Pair, photo: np.ndarray) -> None:
    assert len(np.unique(Segmenter(pair)(photo).labels)) == 3


def test_padded_photo_is_scored_padded_and_cropped(make_pair: MakePair, photo: np.ndarray) -> None:
    model, entry = make_pair(padding="mean_to_8k1")
    tensor = entry.preprocess(photo)
    assert tensor.shape[-2:] == (49, 65)
    with torch.no_grad():
        padded = model.upsample(model(tensor), (49, 65)).softmax(1)
    close(Segmenter((model, entry))(photo).probabilities, padded[0, :, :45, :61])


def test_several_scales_pad_to_32k1(make_pair: MakePair, photo: np.ndarray) -> None:
    model, entry = make_pair(padding="mean_to_8k1", scales=(1, 0.5))
    tensor = entry.preprocess(photo, is_multiscale=True)
    assert tensor.shape[-2:] == (65, 65)
    with torch.no_grad():
        padded = model.upsample(model(tensor), (65, 65)).softmax(1)
    close(Segmenter((model, entry))(photo).probabilities, padded[0, :, :45, :61])


def test_scales_are_the_networks_own_multiscale(make_pair: MakePair, photo: np.ndarray) -> None:
    asked = Segmenter(make_pair(), scales=(1, 0.75, 0.5))
    built = Segmenter(make_pair(scales=(1, 0.75, 0.5)))
    single = Segmenter(make_pair())
    close(asked(photo).probabilities, built(photo).probabilities)
    assert np.abs(asked(photo).probabilities - single(photo).probabilities).max() > 0.01


@pytest.mark.parametrize("padding", ["none", "mean_to_8k1"])
def test_flip_is_the_mean_with_the_mirror_image(
    make_pair: MakePair, photo: np.ndarray, padding: str
) -> None:
    pair = make_pair(padding=padding)
    plain = Segmenter(pair)
    mirrored = plain(photo[:, ::-1]).probabilities[..., ::-1]
    result = Segmenter(pair, flip=True)(photo)
    close(result.probabilities, (plain(photo).probabilities + mirrored) / 2)
    np.testing.assert_array_equal(result.labels, result.probabilities.argmax(0))


def test_mirrored_photo_gives_mirrored_labels_with_flip(pair: Pair, photo: np.ndarray) -> None:
    segmenter = Segmenter(pair, flip=True)
    close(segmenter(photo[:, ::-1]).probabilities, segmenter(photo).probabilities[..., ::-1])


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (8, 8), (9, 17)])
@pytest.mark.parametrize("padding", ["none", "mean_to_8k1"])
@pytest.mark.parametrize("scales", [None, (1, 0.75, 0.5)])
def test_labels_have_the_photos_size(
    make_pair: MakePair, size: tuple[int, int], padding: str, scales: Any
) -> None:
    pair = make_pair(padding=padding, align_corners=padding != "none")
    result = Segmenter(pair, scales=scales, flip=True)(np.zeros((*size, 3), np.uint8))
    assert result.labels.shape == size
    assert result.labels.dtype == np.uint8
    assert result.probabilities.shape == (3, *size)
    assert result.probabilities.dtype == np.float32
    close(result.probabilities.sum(0), np.ones(size))


def test_over_256_classes_labels_are_uint16(make_pair: MakePair, photo: np.ndarray) -> None:
    result = Segmenter(make_pair(classes=300))(photo[:9, :9])
    assert result.labels.dtype == np.uint16
    assert Segmenter(make_pair(classes=256))(photo[:9, :9]).labels.dtype == np.uint8


def test_learned_upsampling_is_used(make_pair: MakePair, photo: np.ndarray) -> None:
    model, entry = make_pair(upsampling="transposed")
    with torch.no_grad():
        model.learned_upsampling.weight[:] = 0
    np.testing.assert_allclose(Segmenter((model, entry))(photo).probabilities, 1 / 3, rtol=1e-6)


def test_timings_name_every_hop_and_their_sum(pair: Pair, photo: np.ndarray) -> None:
    timings = Segmenter(pair)(photo).timings
    assert list(timings) == ["decode", "preprocess", "network", "upsample", "labels", "total"]
    assert all(seconds > 0 for seconds in timings.values())
    assert timings["total"] == pytest.approx(sum(list(timings.values())[:-1]))


# --- inputs ---------------------------------------------------------------------------------------


def test_file_pillow_image_and_array_are_the_same_photo(
    pair: Pair, photo: np.ndarray, tmp_path: Path
) -> None:
    write_image(tmp_path / "a.png", photo)
    segmenter = Segmenter(pair)
    expected = segmenter(photo).probabilities
    for same in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(photo)):
        np.testing.assert_array_equal(segmenter(same).probabilities, expected)


def test_result_keeps_its_photo_when_the_array_is_reused(pair: Pair, photo: np.ndarray) -> None:
    buffer = photo.copy()
    result = Segmenter(pair)(buffer)
    buffer[:] = 0
    np.testing.assert_array_equal(result.image, photo)


@pytest.mark.parametrize(
    ("photo", "came"),
    [
        (np.zeros((4, 4, 3), np.float32), r"array of float32 and shape \(4, 4, 3\); give uint8"),
        (np.zeros((4, 4), np.uint8), r"array of uint8 and shape \(4, 4\); give uint8 RGB"),
        (np.zeros((3, 4, 4), np.uint8), r"shape \(3, 4, 4\); give uint8 RGB"),
        (np.zeros((4, 0, 3), np.uint8), r"shape \(4, 0, 3\); give uint8 RGB"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), "image is a Tensor; give a path"),
        (None, "image is a NoneType; give a path"),
    ],
)
def test_other_inputs_are_refused(pair: Pair, photo: Any, came: str) -> None:
    with pytest.raises(ValueError, match=came):
        Segmenter(pair)(photo)


def test_missing_file_is_refused(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nope\.jpg does not exist"):
        Segmenter(pair)(tmp_path / "nope.jpg")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        MemoryError("Unable to allocate 2. GiB for an array"),
    ],
    ids=["torch", "numpy"],
)
def test_too_little_memory_says_what_to_do(
    make_pair: MakePair, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    segmenter = Segmenter(make_pair())

    def exhaust(_: Any) -> Any:
        raise error

    monkeypatch.setattr(segmenter.model, "forward", exhaust)
    with pytest.raises(OutOfMemoryError, match=r"1 image\(s\) of 61x45 .* use a smaller image"):
        segmenter(photo)


def test_other_errors_of_the_network_are_not_renamed(
    make_pair: MakePair, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = Segmenter(make_pair())

    def fail(_: Any) -> Any:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(segmenter.model, "forward", fail)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        segmenter(photo)


# --- weights, devices, options --------------------------------------------------------------------


def test_weights_file_is_all_it_needs(pair: Pair, photo: np.ndarray, tmp_path: Path) -> None:
    model, entry = pair
    save_weights(tmp_path / "net.safetensors", model.state_dict(), entry)
    segmenter = Segmenter(tmp_path / "net.safetensors")
    assert segmenter.entry.name == "drawn"
    close(segmenter(photo).probabilities, Segmenter(pair)(photo).probabilities)


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="no weights are called 'street-light'"):
        Segmenter("street-light")


def test_entry_of_other_classes_is_refused(make_pair: MakePair) -> None:
    model, _ = make_pair(classes=3)
    _, entry = make_pair(classes=4)
    with pytest.raises(ValueError, match="has 3 classes but its entry has 4"):
        Segmenter((model, entry))


def test_a_passed_network_is_left_as_it_is(make_pair: MakePair, photo: np.ndarray) -> None:
    model, entry = make_pair()
    model.train()
    modes = [module.training for module in model.modules()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    Segmenter((model, entry), scales=(1, 0.5), flip=True)(photo)
    assert model.scales == (1.0,)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_network_ready_to_predict_is_shared_not_copied(pair: Pair) -> None:
    segmenter = Segmenter(pair, scales=(1, 0.5))
    assert pair[0].scales == (1.0,)
    assert all(
        ours is theirs
        for ours, theirs in zip(segmenter.model.parameters(), pair[0].parameters(), strict=True)
    )


def test_results_ask_for_no_gradient(pair: Pair, photo: np.ndarray) -> None:
    segmenter = Segmenter(pair)
    segmenter(photo)
    assert all(parameter.grad is None for parameter in segmenter.model.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_absent_device_is_refused(pair: Pair) -> None:
    with pytest.raises(ValueError, match="device 'cuda' does not work here with PyTorch"):
        Segmenter(pair, device="cuda")


def test_auto_is_the_accelerator_or_the_cpu(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert Segmenter(pair).device == torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("meta"))
    assert check_device("auto") == torch.device("meta")


@pytest.mark.parametrize("device", ["gpu", "cpu:x", None])
def test_unknown_device_is_refused(pair: Pair, device: Any) -> None:
    with pytest.raises(ValueError, match=f"device '{device}' does not work here"):
        Segmenter(pair, device=device)


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives(pair: Pair, photo: np.ndarray) -> None:
    result = Segmenter(pair, device="cuda", flip=True)(photo)
    expected = Segmenter(pair, flip=True)(photo).probabilities
    np.testing.assert_allclose(
        result.probabilities, expected, rtol=0, atol=1e-2
    )  # TF32 convolutions
    assert next(pair[0].parameters()).device.type == "cpu"


@pytest.mark.parametrize("scales", [(), (0.5, 1), (1, 0), (1, -1), (1, 9)])
def test_impossible_scales_are_refused(pair: Pair, scales: Any) -> None:
    with pytest.raises(ValueError, match="give 1 first, then factors up to 8"):
        Segmenter(pair, scales=scales)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True])
def test_impossible_batch_size_is_refused(pair: Pair, batch_size: Any) -> None:
    with pytest.raises(ValueError, match="it must be a whole number from 1 up"):
        Segmenter(pair, batch_size=batch_size)


def test_options_are_replaced_on_the_same_network(pair: Pair) -> None:
    segmenter = Segmenter(pair, flip=True, batch_size=3)
    other = segmenter.with_options(scales=(1, 0.5), flip=False)
    assert (other.scales, other.flip, other.batch_size) == ((1.0, 0.5), False, 3)
    assert (segmenter.scales, segmenter.flip) == ((1.0,), True)
    assert next(other.model.parameters()) is next(segmenter.model.parameters())


def test_unknown_option_names_the_near_one(pair: Pair) -> None:
    with pytest.raises(ValueError, match="no option is called 'scale'; did you mean scales"):
        Segmenter(pair).with_options(scale=2)


# --- results --------------------------------------------------------------------------------------


def test_result_is_saved_as_palette_png(pair: Pair, photo: np.ndarray, tmp_path: Path) -> None:
    result = Segmenter(pair)(photo)
    result.save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.png"), result.labels)
    with Image.open(tmp_path / "labels.png") as image:
        assert image.mode == "P"


def test_result_is_laid_over_its_photo(pair: Pair, photo: np.ndarray) -> None:
    result = Segmenter(pair)(photo)
    np.testing.assert_array_equal(result.overlay(alpha=0, legend=False), photo)
    assert result.overlay().height > 45


def test_probabilities_are_made_once_and_kept(pair: Pair, photo: np.ndarray) -> None:
    result = Segmenter(pair)(photo)
    assert result.probabilities is result.probabilities
