"""`map` keeps order, runs batches, reads lazily; a segmenter serves several threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from atrous.errors import DataError, OutOfMemoryError
from atrous.models import DeepLab
from atrous.predict import Segmentation, Segmenter
from atrous.weights import Entry

Pair = tuple[DeepLab, Entry]


def close(result: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def mixed(photo: np.ndarray) -> list[np.ndarray]:
    """Photos of three sizes, each with other pixels."""
    sizes = [(17, 25)] * 3 + [(9, 9)] + [(17, 25)] + [(25, 17)] * 4
    return [np.roll(photo, index, 0)[:h, :w] for index, (h, w) in enumerate(sizes)]


@pytest.mark.parametrize("batch_size", [2, 3, 16])
@pytest.mark.parametrize("flip", [False, True])
def test_batches_equal_single_photos(
    pair: Pair, photo: np.ndarray, batch_size: int, flip: bool
) -> None:
    single = Segmenter(pair, flip=flip)
    batched = Segmenter(pair, flip=flip, batch_size=batch_size)
    results = list(batched.map(iter(mixed(photo))))
    assert len(results) == 9
    for image, result in zip(mixed(photo), results, strict=True):
        np.testing.assert_array_equal(result.image, image)
        close(result.probabilities, single(image).probabilities)
        np.testing.assert_array_equal(result.labels, result.probabilities.argmax(0))


def test_batches_are_as_large_as_asked_and_of_one_size(
    pair: Pair, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = Segmenter(pair, batch_size=2)
    ran: list[tuple[int, ...]] = []
    forward = segmenter.model.forward
    monkeypatch.setattr(
        segmenter.model, "forward", lambda x: (ran.append(tuple(x.shape)), forward(x))[1]
    )
    list(segmenter.map(mixed(photo)))
    assert [(n, h, w) for n, _, h, w in ran] == [
        (2, 17, 25), (1, 17, 25), (1, 9, 9), (1, 17, 25), (2, 25, 17), (2, 25, 17),
    ]  # fmt: skip


def test_map_reads_photos_lazily(pair: Pair, photo: np.ndarray) -> None:
    taken = []

    def photos() -> Iterator[np.ndarray]:
        for index in range(5):
            taken.append(index)
            yield photo[:9, :9]

    results = Segmenter(pair, batch_size=2).map(photos())
    assert not taken
    next(results)
    assert taken == [0, 1]


def test_map_of_nothing_is_empty(pair: Pair) -> None:
    assert list(Segmenter(pair).map([])) == []


def test_map_yields_finished_results_before_it_fails(pair: Pair, photo: np.ndarray) -> None:
    results = Segmenter(pair, batch_size=4).map([photo[:9, :9], photo[:9, :9], "nope.jpg"])
    assert next(results).labels.shape == (9, 9)
    assert next(results).labels.shape == (9, 9)
    with pytest.raises(FileNotFoundError, match=r"nope\.jpg"):
        next(results)


def test_map_of_one_path_is_refused(pair: Pair) -> None:
    with pytest.raises(ValueError, match="map takes several images"):
        Segmenter(pair).map("photo.jpg")


def test_threads_do_not_disturb_each_other(pair: Pair, photo: np.ndarray) -> None:
    segmenter = Segmenter(pair, flip=True)
    photos = mixed(photo)
    expected = [segmenter(image).probabilities for image in photos]
    start = threading.Barrier(3)

    def work(_: int) -> list[np.ndarray]:
        start.wait()
        return [segmenter(image).probabilities for image in photos]

    with ThreadPoolExecutor(3) as pool:
        for probabilities in pool.map(work, range(3)):
            for one, other in zip(probabilities, expected, strict=True):
                close(one, other)


def test_errors_are_yielded_in_the_place_of_results(
    pair: Pair, photo: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "damaged.jpg").write_bytes(b"no image")
    inputs = [photo, tmp_path / "damaged.jpg", photo[:9], tmp_path / "gone.jpg", photo]
    results = list(Segmenter(pair, batch_size=2).map(inputs, on_error="yield"))
    kinds = [type(result) for result in results]
    assert kinds == [Segmentation, DataError, Segmentation, FileNotFoundError, Segmentation]
    assert "damaged.jpg" in str(results[1])
    assert "gone.jpg" in str(results[3])


def test_too_little_memory_is_yielded_for_each_image_of_the_batch(
    pair: Pair, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = Segmenter(pair, batch_size=2)
    forward = segmenter.model.forward

    def limited(images: torch.Tensor) -> torch.Tensor:
        if images.shape[-2] > 20:
            raise RuntimeError("out of memory")
        return forward(images)

    monkeypatch.setattr(segmenter.model, "forward", limited)
    inputs = [photo[:9], np.tile(photo, (3, 1, 1)), np.tile(photo, (3, 1, 1)), photo[:9]]
    kinds = [type(result) for result in segmenter.map(inputs, on_error="yield")]
    assert kinds == [Segmentation, OutOfMemoryError, OutOfMemoryError, Segmentation]
    with pytest.raises(OutOfMemoryError):
        list(segmenter.map(inputs))


def test_other_ways_to_treat_errors_are_refused(pair: Pair) -> None:
    with pytest.raises(ValueError, match="on_error is 'skip'; it must be 'raise' or 'yield'"):
        Segmenter(pair).map([], on_error="skip")  # type: ignore[call-overload]
