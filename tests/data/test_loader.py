"""The stream of training samples: seeded by position, equal for any number of workers."""

import multiprocessing
import os
import signal
from contextlib import closing

import numpy as np
import pytest
import torch
from PIL import Image

from atrous.data import load_dataset
from atrous.data.loader import TrainingStream, stream_batches
from atrous.data.transforms import TrainTransform
from atrous.preprocess import Preprocess


@pytest.fixture
def stream(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("images", "labels", "splits"):
        (tmp_path / folder).mkdir()
    names = [f"photo{i}" for i in range(5)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (24, 30, 3), np.uint8)).save(
            tmp_path / f"images/{name}.png"
        )
        Image.fromarray(rng.integers(0, 3, (24, 30), np.uint8)).save(
            tmp_path / f"labels/{name}.png"
        )
    (tmp_path / "splits/train.txt").write_text("\n".join(names))
    dataset = load_dataset("folder", tmp_path, split="train")
    transform = TrainTransform(Preprocess(), (17, 17), (0.75, 1.0, 1.5))
    return TrainingStream(dataset, transform, seed=3)


def batches(stream, **options):
    return list(stream_batches(stream, batch_size=2, **options))


def test_every_epoch_is_a_permutation_and_no_two_are_alike(stream):
    epochs = [[stream.index_at(e * 5 + i) for i in range(5)] for e in range(4)]
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_workers_do_not_change_the_samples(stream):
    alone = batches(stream, start=0, stop=8, workers=0)
    helped = batches(stream, start=0, stop=8, workers=2)
    for (x, y), (x2, y2) in zip(alone, helped, strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


def test_a_stream_that_starts_later_gives_the_same_samples(stream):
    whole = batches(stream, start=0, stop=12, workers=0)
    rest = batches(stream, start=6, stop=12, workers=0)
    assert len(rest) == 3
    for (x, _), (x2, _) in zip(whole[3:], rest, strict=True):
        assert torch.equal(x, x2)


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_the_batches_and_none_is_read_twice(stream, count):
    whole = batches(stream, start=2, stop=14, workers=0)
    shares = [
        batches(stream, start=2, stop=14, workers=0, share=(rank, count)) for rank in range(count)
    ]
    assert [len(share) for share in shares] == [len(whole) // count] * count
    for index, (x, y) in enumerate(whole):
        x2, y2 = shares[index % count][index // count]
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


def test_reading_leaves_the_numbers_of_dropout_alone(stream):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    next(stream_batches(stream, start=0, stop=4, batch_size=2, workers=0))
    assert torch.equal(torch.rand(3), expected)


def test_a_signal_to_the_whole_group_leaves_the_workers_at_work(stream):
    with closing(stream_batches(stream, start=0, stop=12, batch_size=2, workers=1)) as read:
        next(read)
        workers = multiprocessing.active_children()
        for worker in workers:
            os.kill(worker.pid, signal.SIGTERM)
            os.kill(worker.pid, signal.SIGINT)
        assert workers
        assert len(list(read)) == 5
    assert not multiprocessing.active_children()


def test_the_seed_changes_the_samples(stream):
    other = TrainingStream(stream.dataset, stream.transform, seed=4)
    first, second = (batches(s, start=0, stop=4, workers=0)[0][0] for s in (stream, other))
    assert not torch.equal(first, second)


def test_an_unexpected_error_of_a_worker_ends_the_workers(stream):
    """They ignore SIGTERM, so Python would wait for them at exit for as long as they live."""
    stream.transform = None
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        batches(stream, start=0, stop=12, workers=2)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_named_in_one_line(stream, workers):
    for pair in stream.dataset.pairs:
        pair.labels.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"^\S+ is not an image in a format") as caught:
        batches(stream, start=0, stop=2, workers=workers)
    assert "\n" not in str(caught.value)
