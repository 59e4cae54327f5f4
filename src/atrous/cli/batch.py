"""What commands over many files share: the output folder, the progress, the failures."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

Failure = tuple[str, str]  # what was asked for, and why it was not done

QUIET_S = 10.0  # between lines of progress where there is no terminal to draw on


def files_in(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """List a folder's own files of these suffixes (lower case), hidden ones left out."""
    return [
        file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in suffixes and file.name[0] != "." and file.is_file()
    ]


def check_output(output: Path, folders: Collection[Path], *, what: str) -> None:
    """Refuse a place for results that is a file, or holds the inputs.

    Args:
        output: What the user gave for -o.
        folders: Where the inputs lie.
        what: What they are, for the message.

    Raises:
        click.UsageError: If results cannot or must not go there.
    """
    if output.is_dir():
        if output.resolve() in {folder.resolve() for folder in folders}:
            raise click.UsageError(
                f"{output} holds the {what}; results there could replace some, and be taken for "
                f"{what} next time; choose another folder, such as {output / 'labels'}"
            )
    elif output.exists():
        raise click.UsageError(f"{output} is a file; -o names a folder for the results")
    elif output.suffix.lower() in (".png", ".jpg", ".jpeg", ".npz", ".npy"):
        raise click.UsageError(f"-o names a folder for the results, and {output} looks like a file")


def make_output(output: Path) -> None:
    """Make the folder for results; fails now, not after the first one, if none can be written."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=output):
        pass


@contextmanager
def images_progress(total: int, what: str = "") -> Generator[Callable[[], None]]:
    """Show how many images are done, how many a second, and how long it still takes.

    `what` is being done with them stands in front.

    On a terminal this is a bar; elsewhere a line on stderr every ten seconds.

    Yields:
        What to call after each image.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    start = shown = time.perf_counter()
    done = 0
    columns = (
        TextColumn(what),
        *Progress.get_default_columns()[1:2],
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    is_terminal = sys.stderr.isatty()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not is_terminal) as bar:
        task = bar.add_task("", total=total, rate="")

        def advance() -> None:
            nonlocal done, shown
            done, now = done + 1, time.perf_counter()
            per_second = done / (now - start)
            bar.update(task, advance=1, rate=f"{per_second:.2f} images/s")
            if not is_terminal and now - shown > QUIET_S:
                shown = now
                left = _duration((total - done) / per_second)
                begin = f"{what}: " if what else ""
                click.echo(
                    f"{begin}{done} of {total}, {per_second:.2f} images/s, {left} left", err=True
                )

        yield advance


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def report(failures: Sequence[Failure]) -> None:
    """List what failed and end with status 1, if anything did."""
    if not failures:
        return
    click.echo(f"{len(failures)} failed:", err=True)
    for path, reason in failures:
        click.echo(f"  {reason}" if reason.startswith(path) else f"  {path}: {reason}", err=True)
    raise click.exceptions.Exit(1)
