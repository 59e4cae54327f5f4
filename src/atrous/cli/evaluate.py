"""`atrous evaluate`: scores of weights on a labelled data set, or labels for its server."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..atomic_file import write_text
from ..errors import InputError, MissingPackageError
from ..progress import ProgressBar
from .options import (
    FILE,
    PATH,
    crf_option,
    device_option,
    flip_option,
    scales_option,
    weights_option,
)
from .printing import print_table

if TYPE_CHECKING:
    from ..evaluation import Report
    from ..predict import Segmenter


@click.command()
@click.argument("dataset")
@click.argument("root", type=PATH)
@click.option("--split", help="Split to score.  [default: the one that papers score, see below]")
@weights_option
@scales_option
@flip_option
@crf_option
@click.option("--variants", metavar="LIST", help="Compare several variants; see below.")
@device_option
@click.option("-o", "--output", type=FILE, help="Write all numbers to this JSON file.")
@click.option(
    "--plot", type=FILE, help="Plot mean IoU near boundaries to this .png, .svg or .pdf file."
)
@click.option(
    "--submission",
    type=PATH,
    metavar="FOLDER",
    help="Write labels for the benchmark's server instead of scoring.",
)
def command(
    dataset: str,
    root: Path,
    split: str | None,
    weights: str,
    variants: str | None,
    device: str,
    output: Path | None,
    plot: Path | None,
    submission: Path | None,
    **options: Any,
) -> None:
    """Score weights on DATASET (camvid, folder …) in the folder ROOT.

    \b
    --variants single,flip,msc,crf,msc+flip+crf scores several variants while
    reading the data once, and makes each a row of one table:
      single  one scale, no mirror image, no CRF
      flip    average with the mirror image
      msc     the scales 1,0.75,0.5 (or --scales)
      crf     the dense CRF, with the parameters of the weights or the paper's
    Combine them with +; `all` is every combination.

    \b
    --submission FOLDER labels the split `test` (or --split), without scoring:
      voc2012     results.tgz with results/VOC2012/Segmentation/comp6_test_cls
      cityscapes  cityscapes_test.zip with *_pred.png of labelIds

    Without --split, the split is `val`, but `test` for coco_stuff10k and `all` for gta5 and
    synthia.
    """  # noqa: D301 (click reads \b)
    if variants is not None and (options["flip"] or options["crf"] is not None):
        raise click.UsageError(
            "--variants cannot be combined with --flip or --crf; name them in the variants"
        )
    if submission is not None and not (output is plot is variants is None):
        raise click.UsageError("--submission cannot be combined with -o, --plot or --variants")
    _check_files(output, plot)
    from ..data import load_dataset, usual_splits
    from ..evaluation import LeakWarning, describe_leak, evaluate, parse_variants, to_json
    from ..predict import Segmenter

    try:
        chosen = None if variants is None else parse_variants(variants, scales=options["scales"])
    except InputError as error:
        raise click.UsageError(f"--variants: {error}") from error
    own = options if chosen is None else {}
    if submission is not None:
        segmenter = Segmenter(weights, device=device, **own)
        _submit(segmenter, dataset, root, submission, split=split or "test")
        return
    samples = load_dataset(dataset, root, split=split or usual_splits(dataset)[-1])
    segmenter = Segmenter(weights, device=device, **own)
    if leak := describe_leak(segmenter.entry, samples):
        click.echo(f"Warning: {leak}", err=True)
    # `describe_leak` has printed the warning already.
    with warnings.catch_warnings(action="ignore", category=LeakWarning), ProgressBar() as bar:
        reports = evaluate(segmenter, samples, variants=chosen or {"": {}}, progress=bar.update)
    _print(reports)
    if output is not None:
        text = json.dumps(to_json(segmenter, reports, chosen), indent=1)
        write_text(output.expanduser(), text + "\n")
        click.echo(f"wrote {output}")
    if plot is not None:
        _plot(plot, segmenter, reports)
        click.echo(f"wrote {plot}")


def _check_files(output: Path | None, plot: Path | None) -> None:
    """Refuse files that cannot be written before the work, not after it."""
    for file in (output, plot):
        if file is not None and not file.expanduser().parent.is_dir():
            raise FileNotFoundError(f"{file.parent} is not a folder; create it first")
    if plot is not None:
        import importlib.util

        from ..describe import checked_suffix

        checked_suffix(plot)
        if importlib.util.find_spec("matplotlib") is None:
            raise MissingPackageError("--plot needs matplotlib: pip install 'atrous[plot]'")


def _submit(segmenter: Segmenter, dataset: str, root: Path, folder: Path, *, split: str) -> None:
    from ..data import list_photos
    from ..submission import write_submission

    count = len(list_photos(dataset, root, split=split).paths)
    with ProgressBar(count) as bar:
        archive = write_submission(
            segmenter, dataset, root, folder, split=split, progress=bar.update
        )
    click.echo(f"wrote {archive} with the labels of {count} images; CRF {segmenter.crf_note}")


def _print(reports: Mapping[str, Report]) -> None:
    from ..score_tables import class_table, class_table_of_variants, variant_table

    if "" in reports:
        print_table(class_table(reports[""]))
    else:
        print_table(variant_table(reports))
        print_table(class_table_of_variants(reports))


def _plot(path: Path, segmenter: Segmenter, reports: Mapping[str, Report]) -> None:
    from ..describe import draw_trimap
    from ..score_tables import describe_data

    curves = {name or segmenter.entry.name: report.trimap for name, report in reports.items()}
    title = f"{segmenter.entry.name} on {describe_data(next(iter(reports.values())))}"
    draw_trimap(curves, path.expanduser(), title=title)
