"""Settings of the whole process: the signals that stop a run, and the C library's allocator."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
from collections.abc import Callable, Generator
from typing import Any

# Parameters of mallopt(3), from malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8


@contextlib.contextmanager
def stop_signals() -> Generator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying from them.

    The same one a second time interrupts at once; torchrun may answer Ctrl-C with both.
    """
    stopped: list[int] = []

    def remember(number: int, _frame: Any) -> None:
        if number in stopped:
            raise KeyboardInterrupt
        stopped.append(number)

    try:
        before = {s: signal.signal(s, remember) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals go where they went
        yield stopped
        return
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StoppedError(Exception):
    """A signal came in the middle of something that can be done again."""


def raise_if_stopping(stopped: list[int]) -> Callable[[int, int], None]:
    """Give a progress callback that raises `StoppedError` once a signal has come."""

    def check(_done: int, _total: int) -> None:
        if stopped:
            raise StoppedError

    return check


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to reuse large blocks instead of unmapping and faulting them in again.

    A CPU training step frees and takes the same hundreds of megabytes each time; page faults took a
    third of it. The process then stays at its peak size, which is why inference does not do this.

    Returns:
        Whether it took effect; False where the C library is not glibc.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has none
        return False
    settings = (
        (M_ARENA_MAX, 1),
        (M_MMAP_MAX, 0),
        (M_TRIM_THRESHOLD, 2**31 - 1),
        (M_TOP_PAD, 2**27),
    )
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
