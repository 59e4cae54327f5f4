"""`atrous doctor`: check whether a data set is ready for training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..progress import ProgressBar
from .options import COUNT, FILE, PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from ..doctor import Examination, Finding

MOST_DETAILS = 5  # the page lists all


@click.command()
@click.argument("root", type=PATH)
@click.option(
    "--dataset", default="folder", show_default=True, help="Name of the data set, such as camvid."
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    help="Split to examine, the training split first; may be repeated.  [default: the data set's "
    "usual splits, such as train and val]",
)
@click.option(
    "--images",
    type=COUNT,
    help="Read only this many pairs of each split, evenly spread.  [default: all]",
)
@click.option(
    "-o",
    "--output",
    type=FILE,
    default="doctor.html",
    show_default=True,
    help="HTML page with all details and with labels drawn over images.",
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
    """Check whether the data set in the folder ROOT is ready for training, and what to fix.

    Every pair of image and labels is read once. The checks cover files, label values, class
    frequencies, sizes, and images that occur in both train and val. The exit status is 1 if
    something will break training.
    """
    from rich.console import Console

    from ..data import usual_splits
    from ..doctor import examine, judge, write_page
    from ..doctor.findings import Level

    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output.parent} is not a folder; create it first")
    with ProgressBar() as bar:
        examination = examine(
            dataset,
            root.expanduser(),
            splits=splits or usual_splits(dataset),
            most=images,
            progress=bar.update_stage,
        )
    findings = judge(examination)
    write_page(output, examination, findings)
    _print(Console(highlight=False), examination, findings)
    click.echo(f"wrote {output}")
    if any(finding.level is Level.BREAKS for finding in findings):
        context.exit(1)


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
            console.print(f"    and {len(finding.details) - MOST_DETAILS} more; the page lists all")
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
            f"{len(split.names):,}" if not split.error else "cannot be opened",
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
