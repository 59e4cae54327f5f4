"""`atrous doctor`: whether a data set on disk will train."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from ..doctor import Examination, Finding

MOST_DETAILS = 5  # the page has them all


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option(
    "--dataset", default="folder", show_default=True, help="Name of the data set, such as camvid."
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    help="Split to examine, the one that trains first; may be given several times. Otherwise the "
    "data set's usual ones, such as train and val.",
)
@click.option(
    "--images", type=click.IntRange(min=1), help="Read so many pairs of each split, evenly spread."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="doctor.html",
    show_default=True,
    help="Page with every detail and with labels laid over images.",
)
@click.pass_context
def command(
    context: click.Context,
    root: Path,
    dataset: str,
    splits: tuple[str, ...],
    images: int | None,
    output: Path,
) -> None:
    """Say whether the data in the folder ROOT will train, and what to mend.

    Reads every pair once: files, labels, class shares, sizes, pictures that train and val share.
    The exit status is 1 where something will break training.
    """
    from rich.console import Console

    from ..data import usual_splits
    from ..doctor import examine, judge, write_page
    from ..doctor.findings import Level

    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output.parent} is not a folder; make it first")
    with _Bar() as bar:
        examination = examine(
            dataset,
            root.expanduser(),
            splits=splits or usual_splits(dataset),
            most=images,
            progress=bar.update,
        )
    findings = judge(examination)
    write_page(output, examination, findings)
    _print(Console(highlight=False), examination, findings)
    click.echo(f"wrote {output}")
    if any(finding.level is Level.BREAKS for finding in findings):
        context.exit(1)


class _Bar:
    """A progress bar on the terminal, a line a split."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress

        is_shown = sys.stderr.isatty()
        self._bar = Progress(
            *Progress.get_default_columns(),
            MofNCompleteColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not is_shown,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, split: str, done: int, total: int) -> None:
        if split not in self._tasks:
            self._tasks[split] = self._bar.add_task(split, total=total)
        self._bar.update(self._tasks[split], completed=done)


def _print(console: Console, examination: Examination, findings: Sequence[Finding]) -> None:
    from rich.markup import escape

    from ..doctor.findings import Level
    from ..doctor.page import MARKS, verdict

    console.print(_splits(examination))
    if examination.label_set is not None:
        console.print(_classes(examination))
    colours = {Level.BREAKS: "red", Level.WARNING: "yellow", Level.NOTE: "cyan"}
    for finding in findings:
        colour = colours[finding.level]
        console.print(f"[{colour}]{MARKS[finding.level]}[/] {escape(finding.text)}", soft_wrap=True)
        console.print(f"  [dim]{escape(finding.remedy)}[/]", soft_wrap=True)
        for line in finding.details[:MOST_DETAILS]:
            console.print(f"    {escape(line)}", soft_wrap=True)
        if len(finding.details) > MOST_DETAILS:
            console.print(f"    and {len(finding.details) - MOST_DETAILS} more, on the page")
    console.print(f"[bold]{verdict(findings)}[/]")


def _splits(examination: Examination) -> Table:
    from ..doctor.page import describe_sizes
    from ..visualize import percent

    table = _empty_table(f"{examination.dataset} in {examination.root}")
    table.add_column("split")
    for name in ("pairs", "read", "unusable", "void", "width x height"):
        table.add_column(name, justify="right")
    for split in examination.splits:
        table.add_row(
            split.name,
            f"{len(split.names):,}" if not split.error else "does not open",
            f"{len(split.examined):,}",
            f"{len(split.faults):,}",
            percent(split.void_share) if split.void_pixels else "0",
            describe_sizes(split),
        )
    return table


def _classes(examination: Examination) -> Table:
    from ..visualize import percent

    assert examination.label_set is not None
    splits = [split for split in examination.splits if split.examined]
    table = _empty_table("")
    table.add_column("class")
    for split in splits:
        table.add_column(f"{split.name}: images", justify="right")
        table.add_column("pixels", justify="right")
        table.add_column("")
    shares = [split.pixels / max(1, split.pixels.sum()) for split in splits]
    largest = max((float(share.max()) for share in shares), default=1.0) or 1.0
    for index, name in enumerate(examination.label_set.names):
        cells = [f"{index} {name}"]
        for split, share in zip(splits, shares, strict=True):
            part = float(share[index])
            bar = "█" * round(12 * part / largest) or ("▏" if part else "")
            cells += [f"{split.images[index]:,}", percent(part) if part else "–", bar]
        table.add_row(*cells)
    return table


def _empty_table(title: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
