"""The one progress bar: a bar on a terminal, elsewhere a line every ten seconds."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Self, TextIO

LINE_INTERVAL_S = 10.0  # between lines where there is no terminal


class ProgressBar:
    """Shows how much is done, at which rate, and how long the remainder takes.

    On a terminal, the bar stays at the bottom and disappears at the end. Elsewhere, a line is
    written every ten seconds. Use it as a context manager.
    """

    def __init__(
        self,
        total: int | None = None,
        label: str = "",
        *,
        unit: str = "images",
        stream: TextIO | None = None,
        is_quiet: bool = False,
    ) -> None:
        """Show nothing yet.

        Args:
            total: How many items or bytes there are, or None where that is not known.
            label: What is being done; it comes first.
            unit: What is counted. "bytes" are shown as MB; "" shows neither a rate nor the time
                left, but the text given to `update`.
            stream: Where the bar goes; the error stream by default.
            is_quiet: Show nothing.
        """
        self.total = total
        self.label = label
        self.unit = unit
        self.done = 0
        self.stream = stream or sys.stderr
        self.is_quiet = is_quiet
        can_animate = os.environ.get("TERM", "") not in ("dumb", "unknown")
        self.is_live = self.stream.isatty() and can_animate and not is_quiet
        self._text = ""
        self._start = self._last_line = time.perf_counter()
        self._bars: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        self._restart_clock()
        if self.is_live:
            self._bars = _rich_bars(self.stream, self.unit)
            self._task = self._bars.add_task(self.label, total=self.total, text="")
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def advance(self) -> None:
        """Count one more item."""
        self.update(self.done + 1)

    def update(
        self, done: int, total: int | None = None, *, label: str | None = None, text: str = ""
    ) -> None:
        """Show the present state.

        Args:
            done: Items or bytes so far.
            total: How many there are; None keeps what was said before.
            label: What is being done; None keeps what was said before.
            text: Shown behind the count where `unit` is "".
        """
        self.done, self._text = done, text
        self.total = self.total if total is None else total
        self.label = self.label if label is None else label
        if self._bars is not None:
            self._bars.update(
                self._task,
                completed=done,
                total=self.total,
                description=self.label,
                text=text if not self.unit else self._rate(),
            )
        elif not self.is_quiet and time.perf_counter() - self._last_line > LINE_INTERVAL_S:
            self._last_line = time.perf_counter()
            print(self._line(), file=self.stream, flush=True)

    def update_stage(self, label: str, done: int, total: int) -> None:
        """Show one of several stages that follow each other, each with its own rate.

        A new label, or no more done than before, begins a stage.
        """
        if label != self.label or done <= self.done:
            self._restart_clock()
        self.update(done, total, label=label)

    def print(self, text: str) -> None:
        """Print a line above the bar, or plainly where there is none."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif not self.is_quiet:
            print(text, file=self.stream, flush=True)

    def _restart_clock(self) -> None:
        self._start = self._last_line = time.perf_counter()
        if self._bars is not None:
            self._bars.reset(self._task)

    def _per_second(self) -> float:
        return self.done / max(time.perf_counter() - self._start, 1e-9)

    def _rate(self) -> str:
        if self.unit == "bytes":
            return f"{self._per_second() / 1e6:.1f} MB/s"
        return f"{self._per_second():.2f} {self.unit}/s"

    def _line(self) -> str:
        if self.unit == "bytes":
            total = "" if self.total is None else f" of {self.total / 1e6:.1f}"
            count = f"{self.done / 1e6:.1f}{total} MB"
        else:
            count = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        parts = [count, self._rate() if self.unit else self._text]
        if self.unit and self.total is not None and self.done:
            parts.append(f"{_duration((self.total - self.done) / self._per_second())} left")
        return (f"{self.label}: " if self.label else "") + ", ".join(part for part in parts if part)


def _rich_bars(stream: TextIO, unit: str) -> Any:
    """Make the bar of a terminal; rich is imported here because it takes 0.1 s."""
    from rich import progress
    from rich.console import Console

    columns = [
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=40 if unit else 24),
        progress.DownloadColumn() if unit == "bytes" else progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[text]}", markup=False),
        *([progress.TimeRemainingColumn()] if unit else []),
    ]
    console = Console(file=stream, force_terminal=True)
    return progress.Progress(*columns, console=console, transient=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
