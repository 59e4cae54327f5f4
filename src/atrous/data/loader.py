"""An endless, seeded stream of augmented samples that can start at any position."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torch.utils.data import Dataset as TorchDataset

from ..errors import EXPECTED_ERRORS
from .base import Dataset
from .transforms import TrainTransform


class TrainingStream(TorchDataset[tuple[Tensor, Tensor]]):
    """Sample number p of a training run, for any p.

    Each epoch is a new permutation. All randomness depends on (seed, p) and not on the worker that
    reads the sample, so runs are equal for any number of workers and can resume at any position.
    """

    def __init__(self, dataset: Dataset, transform: TrainTransform, *, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed
        self._order: tuple[int, np.ndarray] | None = None  # the current epoch and its permutation

    def index_at(self, position: int) -> int:
        """Return the index in the data set of the sample at a position of the stream."""
        epoch, within = divmod(position, len(self.dataset))
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, 0, epoch])
            self._order = (epoch, rng.permutation(len(self.dataset)))
        return int(self._order[1][within])

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        sample = self.dataset[self.index_at(position)]
        rng = np.random.default_rng([self.seed, 1, position])
        return self.transform(sample.image, sample.labels, rng)


def stream_batches(
    stream: TrainingStream,
    *,
    start: int,
    stop: int,
    batch_size: int,
    workers: int,
    share: tuple[int, int] = (0, 1),
    pin_memory: bool = False,
) -> Generator[tuple[Tensor, Tensor]]:
    """Yield batches of the stream from position `start` up to `stop`.

    Args:
        stream: Source of the samples.
        start: First position.
        stop: One past the last position.
        batch_size: Samples per batch.
        workers: Processes that read ahead; 0 reads in this process.
        share: (r, n) yields every n-th batch, starting with batch r, for the r-th of n training
            processes.
        pin_memory: Whether batches are put into pinned memory, from which CUDA copies faster.

    Yields:
        (N, 3, h, w) float32 images and (N, h, w) int64 labels.

    Raises:
        DataError, OSError, …: As reading a sample raises it, also if a worker reads it.
    """
    rank, count = share
    firsts = range(start + rank * batch_size, stop, count * batch_size)
    loader = DataLoader(
        _ErrorsAsValues(stream),
        batch_sampler=(list(range(first, min(first + batch_size, stop))) for first in firsts),
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_prepare_worker,
        persistent_workers=False,
        generator=torch.Generator(),  # the default one is seeded for dropout at each step
    )
    try:
        for batch in loader:
            if isinstance(batch, Exception):
                raise batch
            yield batch
    except BaseException as error:
        # The workers end when the loader's iterator is deleted, and ignore the SIGTERM with which
        # Python ends child processes at exit. The traceback must not keep the iterator until then.
        traceback.clear_frames(error.__traceback__)
        raise


class _ErrorsAsValues(TorchDataset[tuple[Tensor, Tensor] | Exception]):
    """A stream that returns expected errors instead of raising them.

    DataLoader would turn an error of a worker into one whose message is a whole traceback.
    """

    def __init__(self, stream: TrainingStream) -> None:
        self.stream = stream

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor] | Exception:
        try:
            return self.stream[position]
        except EXPECTED_ERRORS as error:
            return error


def _collate(samples: list[tuple[Tensor, Tensor] | Exception]) -> Any:
    """Stack samples into a batch; if a sample is an error, return it instead."""
    error = next((sample for sample in samples if isinstance(sample, Exception)), None)
    return default_collate(samples) if error is None else error


def _prepare_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole process group, as does the SIGTERM of torchrun, systemd and Slurm.
    # Only the main process decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
