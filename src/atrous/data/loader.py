"""An endless, seeded stream of augmented samples that can start at any position."""

from __future__ import annotations

import signal
from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ..errors import EXPECTED_ERRORS
from .base import Dataset
from .transforms import TrainTransform


class TrainingStream(TorchDataset[tuple[Tensor, Tensor]]):
    """Sample number p of a training run, for any p.

    Each epoch is a new permutation. Randomness depends on the seed and p only, not on the worker
    that reads the sample: any number of workers gives the same run, and a run can resume anywhere.
    """

    def __init__(self, dataset: Dataset, transform: TrainTransform, *, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed
        self._order: tuple[int, np.ndarray] | None = None  # epoch, its permutation

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
        share: (r, n): every n-th batch, starting with the r-th, for one of n processes.
        pin_memory: Whether batches are in pinned memory, which CUDA devices copy faster.

    Yields:
        (N, 3, h, w) float32 images and (N, h, w) int64 labels.
    """
    rank, count = share
    firsts = range(start + rank * batch_size, stop, count * batch_size)
    loader = DataLoader(
        stream,
        batch_sampler=(list(range(first, min(first + batch_size, stop))) for first in firsts),
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_init_worker,
        persistent_workers=False,
        generator=torch.Generator(),  # dropout uses the default one, which each step seeds
    )
    try:
        yield from loader
    except EXPECTED_ERRORS as error:
        raise _without_traceback(error) from error


def _without_traceback(error: Exception) -> Exception:
    """Restore the message of a worker's error, which DataLoader replaces by a traceback."""
    _, separator, message = str(error).rpartition(f"\n{type(error).__name__}: ")
    return type(error)(message.strip()) if separator else error


def _init_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C, and SIGTERM from torchrun, systemd and Slurm, reach the whole process group. The main
    # process decides when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
