"""Signals that ask a run to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Generator
from typing import Any


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


def give_way(stopped: list[int]) -> Callable[[int, int], None]:
    """Give a progress callback that raises `StoppedError` once a signal has come."""

    def check(_done: int, _total: int) -> None:
        if stopped:
            raise StoppedError

    return check
