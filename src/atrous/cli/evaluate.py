"""`atrous evaluate`: scores of weights on a labelled data set, or labels for its server."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..atomic_file import write_text
from ..errors import MissingPackageError
from ..suggestions import did_you_mean
from .batch import images_progress
from .parameters import parse_scales

if TYPE_CHECKING:
    from rich.table import Table

    from ..data import Dataset
    from ..evaluation import Report
    from ..predict import Segmenter

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
MULTI_SCALE = (1.0, 0.75, 0.5)
ALL_VARIANTS = "single,flip,msc,msc+flip,crf,flip+crf,msc+crf,msc+flip+crf"
WORDS = ("msc", "flip", "crf")


@click.command()
@click.argument("dataset")
@click.argument("root", type=PATH)
@click.option("--split", help="Which images.  [default: val or what stands for it; see below]")
@click.option(
    "--weights", default="street-lite", show_default=True, help="Name or file of weights."
)
@click.option("--scales", callback=parse_scales, help="Input scales to fuse, e.g. 1,0.75,0.5.")
@click.option("--flip", is_flag=True, help="Average with the mirror image.")
@click.option("--crf/--no-crf", default=None, help="Override what the weights say.")
@click.option("--variants", metavar="LIST", help="Several ways in one table; see below.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps …")
@click.option("-o", "--output", type=FILE, help="Write every number to this JSON file.")
@click.option("--plot", type=FILE, help="Draw the bands' mean IoU to this .png, .svg or .pdf file.")
@click.option(
    "--submission", type=PATH, metavar="DIR", help="Instead of scoring, write for the server."
)
def command(
    dataset: str,
    root: Path,
    split: str | None,
    weights: str,
    scales: tuple[float, ...] | None,
    flip: bool,
    crf: bool | None,
    variants: str | None,
    device: str,
    output: Path | None,
    plot: Path | None,
    submission: Path | None,
) -> None:
    """Score weights on DATASET (camvid, folder …) in the folder ROOT.

    \b
    --variants single,flip,msc,crf,msc+flip+crf scores several ways from one
    reading of the data and makes each a row of one table:
      single  one scale, no mirror image, no CRF
      flip    the mirror image as well
      msc     the scales 1,0.75,0.5 (or --scales)
      crf     the dense CRF, as the weights say or else with the paper's numbers
    Join them by +; `all` stands for the eight that there are.

    \b
    --submission DIR labels the split `test` (or --split), which needs no labels:
      voc2012     DIR/results.tgz with results/VOC2012/Segmentation/comp6_test_cls
      cityscapes  DIR/cityscapes_test.zip with *_pred.png of labelIds

    Without --split, the split is the one that papers score: `val`, but `test` of coco_stuff10k
    and `all` of gta5 and synthia.
    """  # noqa: D301 (click reads \b)
    from ..predict import Segmenter

    ways = _check_variants(variants, scales, flip=flip, crf=crf)
    _check_files(submission, output=output, plot=plot, variants=variants)
    options: dict[str, Any] = {"scales": scales, "flip": flip, "crf": crf}
    if variants is not None:
        options = {}
    if submission is not None:
        segmenter = Segmenter(weights, device=device, **options)
        _submit(segmenter, dataset, root, submission, split=split or "test")
        return
    from ..data import load_dataset, usual_splits
    from ..evaluation import LeakWarning, describe_leak

    samples = load_dataset(dataset, root, split=split or usual_splits(dataset)[-1])
    segmenter = Segmenter(weights, device=device, **options)
    if leak := describe_leak(segmenter.entry, samples):
        click.echo(f"Warning: {leak}", err=True)
    with warnings.catch_warnings(action="ignore", category=LeakWarning):  # said above, in one line
        reports = _evaluate(segmenter, samples, ways)
    _print(reports)
    if output is not None:
        _write(output, _to_json(segmenter, reports, ways))
        click.echo(f"wrote {output}")
    if plot is not None:
        _plot(plot, segmenter, reports)
        click.echo(f"wrote {plot}")


def _check_variants(
    text: str | None, scales: tuple[float, ...] | None, *, flip: bool, crf: bool | None
) -> dict[str, dict[str, Any]] | None:
    """Turn names such as `msc+flip` into options of `Segmenter`."""
    if text is None:
        return None
    if flip or crf is not None:
        raise click.UsageError("--flip and --crf go without --variants, whose names say it")
    names = [name.strip() for name in text.replace("all", ALL_VARIANTS).split(",")]
    return {name: _variant(name, scales or MULTI_SCALE) for name in names}


def _variant(name: str, scales: tuple[float, ...]) -> dict[str, Any]:
    words = [] if name == "single" else name.split("+")
    for word in words:
        if word not in WORDS:
            reason = (
                "; `single` cannot be combined"
                if word == "single"
                else did_you_mean(word, ("single", *WORDS))
            )
            raise click.UsageError(f"--variants: {word!r} in {name!r} is unknown{reason}")
    return {
        "scales": scales if "msc" in words else (1.0,),
        "flip": "flip" in words,
        "crf": "crf" in words,
    }


def _check_files(
    submission: Path | None, *, output: Path | None, plot: Path | None, variants: str | None
) -> None:
    """Refuse what cannot be written now, not after an hour."""
    if submission is not None and not (output is plot is variants is None):
        raise click.UsageError("--submission scores nothing; leave -o, --plot and --variants away")
    for file in (output, plot):
        if file is not None and not file.expanduser().parent.is_dir():
            raise FileNotFoundError(f"{file.parent} is not a folder; make it first")
    if plot is not None:
        import importlib.util

        from ..describe import checked_suffix

        checked_suffix(plot)
        if importlib.util.find_spec("matplotlib") is None:
            raise MissingPackageError("--plot needs matplotlib: pip install 'atrous[plot]'")


def _evaluate(
    segmenter: Segmenter, samples: Dataset, ways: dict[str, dict[str, Any]] | None
) -> dict[str, Report]:
    """Score one way, under the name "", or several."""
    from ..evaluation import evaluate

    with images_progress(len(samples)) as advance:
        return evaluate(
            segmenter,
            samples,
            variants={"": {}} if ways is None else ways,
            progress=lambda done, total: advance(),
        )


def _submit(segmenter: Segmenter, dataset: str, root: Path, folder: Path, *, split: str) -> None:
    from ..data import list_photos
    from ..submission import write_submission

    count = len(list_photos(dataset, root, split=split).paths)
    with images_progress(count) as advance:
        archive = write_submission(
            segmenter, dataset, root, folder, split=split, progress=lambda done, total: advance()
        )
    click.echo(f"wrote {archive} with the labels of {count} images; CRF {segmenter.crf_note}")


def _print(reports: Mapping[str, Report]) -> None:
    from rich.console import Console

    console = Console()
    if "" in reports:
        console.print(_class_table(reports[""]))
        return
    console.print(_summary_table(reports))
    console.print(_detail_table(reports))


def _class_table(report: Report) -> Table:
    from rich.table import Table

    table = Table(title=_title(report))
    table.add_column("class")
    table.add_column("IoU", justify="right")
    table.add_column("boundary IoU", justify="right")
    for name, *scores in zip(report.label_set.names, report.iou, report.boundary_iou, strict=True):
        table.add_row(name, *map(_score, scores))
    table.add_section()
    table.add_row("mean IoU", _score(report.miou), _score(report.mean_boundary_iou))
    table.add_row("pixel accuracy", _score(report.pixel_accuracy))
    table.add_row("class accuracy", _score(report.class_accuracy))
    table.add_row("frequency-weighted IoU", _score(report.frequency_weighted_iou))
    table.add_section()
    for band, value in report.trimap.items():
        table.add_row(f"mean IoU within {band} px of a boundary", _score(value))
    return table


def _summary_table(reports: Mapping[str, Report]) -> Table:
    """One row a variant."""
    from rich.table import Table

    table = Table(title=_title(next(iter(reports.values()))))
    table.add_column("variant")
    columns = (
        "mean\nIoU",
        "pixel\nacc.",
        "class\nacc.",
        "freq.\nIoU",
        "bound.\nIoU",
        "within\n3 px",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for name, report in reports.items():
        table.add_row(
            name,
            _score(report.miou),
            _score(report.pixel_accuracy),
            _score(report.class_accuracy),
            _score(report.frequency_weighted_iou),
            _score(report.mean_boundary_iou),
            _score(report.trimap[3]),
        )
    return table


def _detail_table(reports: Mapping[str, Report]) -> Table:
    """Classes and bands, one column a variant."""
    from rich.table import Table

    first = next(iter(reports.values()))
    table = Table(title="IoU of each class; mean IoU within 1-40 px of a boundary")
    table.add_column("")
    for name in reports:
        table.add_column(name.replace("+", "+\n"), justify="right")
    for row, name in enumerate(first.label_set.names):
        table.add_row(name, *(_score(report.iou[row]) for report in reports.values()))
    table.add_section()
    for band in first.trimap:
        table.add_row(f"{band} px", *(_score(report.trimap[band]) for report in reports.values()))
    return table


def _title(report: Report) -> str:
    return f"{report.dataset}, {report.images} images"


def _score(value: float) -> str:
    return "absent" if value != value else f"{value:.3f}"


def _to_json(
    segmenter: Segmenter, reports: Mapping[str, Report], ways: dict[str, dict[str, Any]] | None
) -> str:
    about: dict[str, Any] = {"weights": segmenter.entry.name}
    if ways is None:
        return json.dumps(about | _options(segmenter) | reports[""].to_dict(), indent=1)
    variants = {
        name: _options(segmenter.with_options(**ways[name])) | report.to_dict()
        for name, report in reports.items()
    }
    return json.dumps(about | {"variants": variants}, indent=1)


def _options(segmenter: Segmenter) -> dict[str, Any]:
    import dataclasses

    crf = None if segmenter.crf is None else dataclasses.asdict(segmenter.crf.params)
    return {"scales": segmenter.scales, "flip": segmenter.flip, "crf": crf}


def _plot(path: Path, segmenter: Segmenter, reports: Mapping[str, Report]) -> None:
    from ..describe import draw_trimap

    curves = {name or segmenter.entry.name: report.trimap for name, report in reports.items()}
    title = f"{segmenter.entry.name} on {_title(next(iter(reports.values())))}"
    draw_trimap(curves, path.expanduser(), title=title)


def _write(path: Path, text: str) -> None:
    write_text(path.expanduser(), text + "\n")
