"""Settings of the process: signals that stop a run, and the C library's allocator."""

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
    """Collect SIGINT and SIGTERM instead of ending the process.

    The same signal a second time raises KeyboardInterrupt; Ctrl-C under torchrun may send both
    signals once.

    Yields:
        The numbers of the signals received so far.
    """
    signals: list[int] = []

    def remember(number: int, _frame: Any) -> None:
        if number in signals:
            raise KeyboardInterrupt
        signals.append(number)

    try:
        old_handlers = {s: signal.signal(s, remember) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, which alone can set handlers
        yield signals
        return
    try:
        yield signals
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)


class StoppedError(Exception):
    """A signal interrupted an evaluation, which the resumed run repeats."""


def raise_if_stopping(signals: list[int]) -> Callable[[int, int], None]:
    """Return a progress callback that raises `StoppedError` after a signal."""

    def check(_done: int, _total: int) -> None:
        if signals:
            raise StoppedError

    return check


def keep_freed_memory() -> bool:
    """Make glibc's allocator reuse large blocks instead of returning them to the system.

    A training step on the CPU frees and allocates the same hundreds of megabytes each time; page
    faults took a third of its time. The process then keeps its peak size, so inference does not do
    this.

    Returns:
        Whether it took effect; False if the C library is not glibc.
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
