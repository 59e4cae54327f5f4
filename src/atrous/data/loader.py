"""An endless, seeded stream of augmented samples that can start anywhere."""

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

    Each epoch is a new permutation. Everything random follows from (seed, p), never from which
    worker reads the sample, so runs are equal for any number of workers and resume at any position.
    """

    def __init__(self, dataset: Dataset, transform: TrainTransform, *, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed
        self._order: tuple[int, np.ndarray] | None = None  # the epoch at hand

    def index_at(self, position: int) -> int:
        """Say which sample of the data set stands at a position of the stream."""
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
        stream: Where samples come from.
        start: First position.
        stop: One past the last position.
        batch_size: Samples a batch.
        workers: Processes that read ahead; 0 reads in this process.
        share: (r, n): every n-th batch, from the r-th on; n processes read the stream together.
        pin_memory: Whether batches lie where a CUDA device copies from quickly.

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
        worker_init_fn=_settle_worker,
        persistent_workers=False,
        generator=torch.Generator(),  # the default one is dropout's, seeded for each step
    )
    try:
        yield from loader
    except EXPECTED_ERRORS as error:
        raise _without_traceback(error) from error


def _without_traceback(error: Exception) -> Exception:
    """Undo what DataLoader does to a worker's error: its message becomes a traceback."""
    _, found, reason = str(error).rpartition(f"\n{type(error).__name__}: ")
    return type(error)(reason.strip()) if found else error


def _settle_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole process group, as does the SIGTERM of torchrun, systemd and Slurm;
    # whether to stop is for the main process to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
