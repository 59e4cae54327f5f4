"""`atrous segment`: labels for images, folders and globs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from ..folders import check_output_folder, create_output_folder
from ..progress import ProgressBar
from .batch import list_failures
from .options import (
    PATH,
    crf_option,
    device_option,
    flip_option,
    scales_option,
    weights_option,
)

if TYPE_CHECKING:
    from ..predict import Segmentation, Segmenter
    from ..predict.folder import Job


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("-o", "--output", required=True, type=PATH, help="Folder for the results.")
@weights_option
@crf_option
@scales_option
@flip_option
@click.option("--probabilities", is_flag=True, help="Also write OUTPUT/STEM.npz.")
@device_option
def command(
    paths: tuple[str, ...], output: Path, weights: str, probabilities: bool, **options: Any
) -> None:
    """Label every pixel of the images in PATHS.

    PATHS are image files, folders (without their subfolders) and globs, in which ** stands for any
    number of subfolders: 'trip/**/*.jpg'.

    \b
    Each image STEM.jpg becomes
      OUTPUT/STEM.png          class indices, with the classes' colours as palette
      OUTPUT/STEM_overlay.png  the image under those colours, with a legend
      OUTPUT/STEM.npz          with --probabilities: `unary`, `step` and `names`;
                               exp(-step * unary) is (classes, rows, columns),
                               and values below 1e-5 are stored as 1e-5

    Images with the same stem are numbered in their order: STEM, STEM-2, STEM-3. Images that fail
    are listed at the end; the others are still processed.
    """  # noqa: D301 (click reads \b)
    from ..predict import Segmenter
    from ..predict.folder import find_images, plan_results

    images, failed = find_images(paths)
    try:
        check_output_folder(output, {image.resolve().parent for image in images}, what="images")
    except InputError as error:
        raise click.UsageError(str(error)) from error
    if images:
        segmenter = Segmenter(weights, **options)
        create_output_folder(output)
        _describe(segmenter)
        jobs = plan_results(images, output)
        failed |= _run(segmenter, jobs, with_probabilities=probabilities)
    list_failures(list(failed.items()))


def _describe(segmenter: Segmenter) -> None:
    entry = segmenter.entry
    click.echo(f"weights {entry.name}" + (f" ({entry.notice})" if entry.notice else ""))
    click.echo(f"dense CRF {segmenter.crf_note}")


def _run(segmenter: Segmenter, jobs: Sequence[Job], *, with_probabilities: bool) -> dict[str, str]:
    """Segment the images; print what was done, and return image -> reason of those that failed."""
    from ..predict.folder import segment_images

    failed: dict[str, str] = {}
    start = time.perf_counter()
    with ProgressBar(len(jobs)) as bar:
        bar.is_quiet = not bar.is_live  # a line for each image takes its place
        bar.update(0, label=jobs[0].image.name)
        results = segment_images(segmenter, jobs, with_probabilities=with_probabilities)
        for done, (job, result) in enumerate(results, start=1):
            if isinstance(result, str):
                failed[str(job.image)] = result
            elif not bar.is_live:
                click.echo(f"{job.image} -> {job.labels}  {_summary(result)}")
            bar.update(done, label=jobs[min(done, len(jobs) - 1)].image.name)
    seconds = time.perf_counter() - start
    click.echo(
        f"{len(jobs) - len(failed)} of {len(jobs)} images labelled in {seconds:.1f} s; "
        f"results are in {jobs[0].labels.parent}/"
    )
    return failed


def _summary(result: Segmentation) -> str:
    from ..visualize import class_name, class_shares, percent

    largest = [
        f"{class_name(index, result.label_set)} {percent(share)}"
        for index, share in class_shares(result.labels)[:3]
    ]
    return f"{result.timings['total']:.2f} s  {', '.join(largest)}"
