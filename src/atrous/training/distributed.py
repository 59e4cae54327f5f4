"""`Processes`: sums, flags and errors shared between the processes that torchrun starts."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import (
    AtrousError,
    DataError,
    InputError,
    MissingPackageError,
    OutOfMemoryError,
    TrainingError,
    WeightsError,
)

Result = TypeVar("Result")

# Errors that are sent to the first process, which raises the first class here that matches.
FAILURES = (
    DataError,
    WeightsError,
    InputError,
    TrainingError,
    MissingPackageError,
    OutOfMemoryError,
    AtrousError,
    MemoryError,
    OSError,
)
# How long the other processes wait at the next step while the first one evaluates.
TIMEOUT = datetime.timedelta(days=2)


@dataclass(frozen=True)
class Processes:
    """The rank of this process and the number of processes that share a run.

    Attributes:
        rank: 0 for the process that writes, logs and evaluates.
        count: Number of processes.
        local_rank: Rank on its own machine, which is also the index of its CUDA device.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes, logs and evaluates."""
        return self.rank == 0

    def assign_device(self, device: torch.device) -> torch.device:
        """Assign one CUDA device to each process of a machine.

        Raises:
            InputError: If the machine has fewer devices than processes.
        """
        if self.count == 1 or device.type != "cuda":
            return device
        if self.local_rank >= torch.cuda.device_count():
            raise InputError(
                f"process {self.local_rank} has no CUDA device: this machine has "
                f"{torch.cuda.device_count()}; start one process per device"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def all_reduce_sum(self, value: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Return whether the flag is true in any process; every process gets the same answer."""
        return bool(self.all_reduce_sum(torch.tensor(float(flag))) > 0)

    def run_collectively(self, action: Callable[[], Result]) -> Result:
        """Run an action in every process, and continue only if all of them succeed.

        Returns:
            The result of the action in this process.

        Raises:
            InputError, OSError, …: The error of any process, raised in the first process. The
                others exit quietly, so that it is printed once.
        """
        if self.count == 1:
            return action()
        try:
            result, error = action(), None
        except FAILURES as failure:
            result, error = None, failure
        if self.any(error is not None):
            self._raise_in_first(error)
        return result  # type: ignore[return-value]

    def _raise_in_first(self, error: Exception | None) -> NoReturn:
        found: list[tuple[int, str] | None] = [None] * self.count
        ours = None
        if error is not None:  # sent as class and text, because not every exception can be pickled
            kind = next(i for i, failure in enumerate(FAILURES) if isinstance(error, failure))
            ours = (kind, str(error))
        dist.all_gather_object(found, ours)
        if not self.is_first:
            self.exit_quietly()
        if error is not None:
            raise error
        rank, (kind, text) = next((r, f) for r, f in enumerate(found) if f is not None)
        raise FAILURES[kind](f"process {rank}: {text}")

    def exit_quietly(self) -> NoReturn:
        """Exit without a message, after the first process has printed the error and ended.

        torchrun stops all processes as soon as one exits with an error, so the first process must
        exit before this one.
        """
        with contextlib.suppress(RuntimeError):
            dist.recv(
                torch.zeros(1), src=0
            )  # nothing is ever sent: this returns when process 0 ends
        raise SystemExit(1)


ALONE = Processes()


@contextlib.contextmanager
def join_processes() -> Generator[Processes]:
    """Connect to the other processes of this run, if torchrun started it.

    Tensors on the CPU are exchanged through gloo, tensors on CUDA devices through NCCL.

    Yields:
        This process and the number of processes; `ALONE` without torchrun.

    Raises:
        ConnectionError: In the first process, if another process was killed or crashed.
        SystemExit: In the other processes, if any process failed.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    creates_group = not dist.is_initialized()
    if creates_group:
        has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
        dist.init_process_group("cpu:gloo,cuda:nccl" if has_nccl else "gloo", timeout=TIMEOUT)
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    processes = Processes(dist.get_rank(), dist.get_world_size(), local_rank)
    try:
        yield processes
    except RuntimeError as error:
        if not is_disconnection(error):
            raise
        if not processes.is_first:
            processes.exit_quietly()
        raise ConnectionError(
            f"another of the {count} processes was killed or crashed; its error is above if it "
            "printed one. Continue with --resume"
        ) from error
    if creates_group:
        dist.destroy_process_group()


def is_first_process() -> bool:
    """Return whether this process prints; works before `join_processes`."""
    return os.environ.get("RANK", "0") == "0"


def is_disconnection(error: RuntimeError) -> bool:
    """Return whether an error means that another process has ended."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
