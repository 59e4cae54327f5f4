"""`atrous evaluate`: scores of weights on a labelled data set."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .parameters import parse_scales

if TYPE_CHECKING:
    from rich.table import Table

    from ..evaluation import Report


@click.command()
@click.argument("dataset")
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True, help="Which images.")
@click.option(
    "--weights", default="street-lite", show_default=True, help="Name or file of weights."
)
@click.option("--scales", callback=parse_scales, help="Input scales to fuse, e.g. 1,0.75,0.5.")
@click.option("--flip", is_flag=True, help="Average with the mirror image.")
@click.option("--crf/--no-crf", default=None, help="Override what the weights say.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps …")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write every number to this JSON file."
)
def command(
    dataset: str,
    root: Path,
    split: str,
    weights: str,
    scales: tuple[float, ...] | None,
    flip: bool,
    crf: bool | None,
    device: str,
    output: Path | None,
) -> None:
    """Score weights on DATASET (camvid, folder …) in the folder ROOT."""
    from rich.console import Console
    from rich.progress import Progress

    from ..data import load_dataset
    from ..evaluation import LeakWarning, describe_leak, evaluate
    from ..predict import Segmenter

    if output is not None and not output.expanduser().parent.is_dir():
        raise FileNotFoundError(f"{output.parent} is not a folder; make it first")
    samples = load_dataset(dataset, root, split=split)
    options: dict[str, Any] = {"scales": scales, "flip": flip, "crf": crf}
    segmenter = Segmenter(weights, device=device, **options)
    if leak := describe_leak(segmenter.entry, samples):
        click.echo(f"Warning: {leak}", err=True)
    with (
        warnings.catch_warnings(action="ignore", category=LeakWarning),  # said above, in one line
        Progress(
            console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
        ) as bar,
    ):
        task = bar.add_task(f"{dataset}/{split}", total=len(samples))
        report = evaluate(
            segmenter, samples, progress=lambda done, _: bar.update(task, completed=done)
        )
    Console().print(_table(report))
    if output is not None:
        _write(output, report.to_json())
        click.echo(f"wrote {output}")


def _table(report: Report) -> Table:
    from rich.table import Table

    table = Table(title=f"{report.dataset}, {report.images} images")
    table.add_column("class")
    table.add_column("IoU", justify="right")
    table.add_column("boundary IoU", justify="right")
    for name, *scores in zip(report.label_set.names, report.iou, report.boundary_iou, strict=True):
        table.add_row(name, *("absent" if score != score else f"{score:.3f}" for score in scores))
    table.add_section()
    table.add_row("mean IoU", f"{report.miou:.3f}")
    table.add_row("pixel accuracy", f"{report.pixel_accuracy:.3f}")
    table.add_row("class accuracy", f"{report.class_accuracy:.3f}")
    table.add_row("frequency-weighted IoU", f"{report.frequency_weighted_iou:.3f}")
    table.add_section()
    for band in (1, 3, 10, 40):
        table.add_row(f"mean IoU within {band} px of a boundary", f"{report.trimap[band]:.3f}")
    return table


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
