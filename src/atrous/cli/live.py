"""The line of `atrous train` that changes in place: how far, how long still, what it waits for."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars

from ..training.log import Progress, format_duration


class LiveLine:
    """A bar at the bottom of the terminal; lines that are said scroll by above it."""

    def __init__(self, console: Console | None = None) -> None:
        self.bars = Bars(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[about]}"),
            console=console or Console(),
            transient=True,
        )
        self.task = self.bars.add_task("train", total=None, about="first step …")

    def __enter__(self) -> Self:
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, progress: Progress) -> None:
        """Move the bar."""
        self.bars.update(
            self.task,
            completed=progress.iteration,
            total=progress.total,
            about=(
                f"loss {progress.loss:.3f}  {progress.seconds:.2f} s/it, "
                f"{progress.data_wait:.0%} of it for data  {format_duration(progress.left_s)} left"
            ),
        )
