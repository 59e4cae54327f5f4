"""The processes of a run, as torchrun starts them: who speaks, what is added up, who fails."""

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

# Errors that travel from one process to the first; the first that matches is raised there.
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
# The other processes wait this long at the next step while the first one evaluates.
PATIENCE = datetime.timedelta(days=2)


@dataclass(frozen=True)
class Processes:
    """The place of this process among those that share a run.

    Attributes:
        rank: 0 for the one that writes, logs and evaluates.
        count: How many there are.
        local_rank: Its place on its own machine, which is also its CUDA device.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this one writes, logs and evaluates."""
        return self.rank == 0

    def assign_device(self, device: torch.device) -> torch.device:
        """Give each process of a machine a CUDA device of its own.

        Raises:
            InputError: If the machine has fewer devices than processes.
        """
        if self.count == 1 or device.type != "cuda":
            return device
        if self.local_rank >= torch.cuda.device_count():
            raise InputError(
                f"there is no CUDA device {self.local_rank} for this process, only "
                f"{torch.cuda.device_count()}; start as many processes as there are devices"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def all_reduce_sum(self, value: Tensor) -> Tensor:
        """Add a tensor up over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def any(self, claim: bool) -> bool:
        """Say whether the claim holds in any process; all get the same answer."""
        return bool(self.all_reduce_sum(torch.tensor(float(claim))) > 0)

    def run_collectively(self, act: Callable[[], Result]) -> Result:
        """Do what each process does for itself, and go on only if it worked in all of them.

        Raises:
            InputError, OSError, …: What went wrong, in the first process alone; the others leave
                quietly, so that it is said once.
        """
        if self.count == 1:
            return act()
        try:
            result, error = act(), None
        except FAILURES as failure:
            result, error = None, failure
        if self.any(error is not None):
            self._fail(error)
        return result  # type: ignore[return-value]

    def _fail(self, error: Exception | None) -> NoReturn:
        found: list[tuple[int, str] | None] = [None] * self.count
        ours = None
        if error is not None:  # as a kind and a text: not every exception travels
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
        """End quietly once the first process has said what went wrong, and ended.

        torchrun stops all processes as soon as one has failed, so this one must not be the first.
        """
        with contextlib.suppress(RuntimeError):
            dist.recv(torch.zeros(1), src=0)  # nothing is ever sent: this returns when it has ended
        raise SystemExit(1)


ALONE = Processes()


@contextlib.contextmanager
def join_processes() -> Generator[Processes]:
    """Find the other processes of this run, where torchrun has started some.

    gloo carries what lies on the CPU, NCCL what lies on CUDA devices.

    Yields:
        Where this process stands; alone, without torchrun.

    Raises:
        ConnectionError: In the first process, if another one was killed or crashed.
        SystemExit: In the others, if any process failed.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    is_ours = not dist.is_initialized()
    if is_ours:
        has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
        dist.init_process_group("cpu:gloo,cuda:nccl" if has_nccl else "gloo", timeout=PATIENCE)
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
            f"another of the {count} processes ended before its time; what it said, if it could, "
            "stands above. Go on with --resume"
        ) from error
    if is_ours:
        dist.destroy_process_group()


def is_first_process() -> bool:
    """Say whether this process is the one that speaks, before the processes have met."""
    return os.environ.get("RANK", "0") == "0"


def is_disconnection(error: RuntimeError) -> bool:
    """Say whether an error means that another process is gone."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
