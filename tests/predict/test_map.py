"""`map` keeps order, runs batches, reads lazily; a segmenter serves several threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from atrous.models import DeepLab
from atrous.predict import Segmenter
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
