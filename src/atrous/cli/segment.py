"""`atrous segment`: labels for photos, folders and globs."""

from __future__ import annotations

import glob
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EXPECTED_ERRORS
from .batch import Failure, check_output, files_in, make_output, report
from .main import one_line
from .parameters import parse_scales

if TYPE_CHECKING:
    from ..predict import Segmentation, Segmenter


RESULT_ENDINGS = (".png", "_overlay.png", ".npz")


@dataclass(frozen=True)
class Job:
    """A photo and where its results go.

    Attributes:
        photo: The file to read.
        labels: OUT/STEM.png.
        overlay: OUT/STEM_overlay.png.
        probabilities: OUT/STEM.npz.
    """

    photo: Path
    labels: Path
    overlay: Path
    probabilities: Path


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder for the results."
)
@click.option("--weights", default="street-lite", show_default=True, help="Name or file.")
@click.option("--crf/--no-crf", default=None, help="Override what the weights say.")
@click.option("--scales", callback=parse_scales, help="Input scales to fuse, e.g. 1,0.75,0.5.")
@click.option("--flip", is_flag=True, help="Average with the mirror image.")
@click.option("--probabilities", is_flag=True, help="Also write OUT/STEM.npz.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps …")
def command(
    paths: tuple[str, ...], output: Path, weights: str, probabilities: bool, **options: Any
) -> None:
    """Label every pixel of the photos in PATHS.

    PATHS are photos, folders (their own photos, not those of subfolders) and globs, of which **
    reaches into subfolders: 'trip/**/*.jpg'.

    \b
    Each photo STEM.jpg becomes
      OUT/STEM.png          class indices, with the classes' colours as palette
      OUT/STEM_overlay.png  the photo under those colours, with a legend
      OUT/STEM.npz          with --probabilities, for numpy.load: `unary`, `step`
                            and `names`; exp(-step * unary) is (classes, rows,
                            columns), and what is below 1e-5 counts as 1e-5

    Photos of the same stem are numbered in the order they come: STEM, STEM-2, STEM-3. What fails is
    listed at the end, and the rest is done.
    """  # noqa: D301 (click reads \b)
    photos, failures = find_photos(paths)
    check_output(output, {photo.resolve().parent for photo in photos}, what="photos")
    jobs = plan(photos, output)
    if jobs:
        segmenter = _open_segmenter(weights, options, output)
        failures += run(segmenter, jobs, with_probabilities=probabilities)
    report(failures)


def find_photos(paths: Sequence[str]) -> tuple[list[Path], list[Failure]]:
    """Expand folders and globs.

    Returns:
        Files, each once, in order; and (path, reason) of what leads to none.
    """
    photos: dict[Path, Path] = {}
    failures: list[Failure] = []
    for text in paths:
        try:
            found, reason = _expand(text)
        except OSError as error:  # a folder that may not be read
            found, reason = [], one_line(error)
        photos |= {file.resolve(): file for file in found if file.resolve() not in photos}
        if not found:
            failures.append((text, reason))
    return list(photos.values()), failures


def _expand(text: str) -> tuple[list[Path], str]:
    """List the files that a path stands for; and why, where there are none."""
    from ..image_io import IMAGE_SUFFIXES

    path = Path(text)
    if path.is_dir():
        found = files_in(path, IMAGE_SUFFIXES)
        return found, f"no photos in this folder; for those of subfolders give '{path}/**/*.jpg'"
    if path.exists():
        return [path], ""
    if glob.has_magic(text):
        found = [Path(match) for match in sorted(glob.glob(text, recursive=True))]
        return [file for file in found if file.is_file()], "matches no file"
    return [], "does not exist"


def plan(photos: Sequence[Path], output: Path) -> list[Job]:
    """Give every photo result files of its own."""
    taken: set[str] = set()
    jobs: list[Job] = []
    for photo in photos:
        number, stem = 1, photo.stem
        while taken & (names := {f"{stem}{end}".casefold() for end in RESULT_ENDINGS}):
            number += 1
            stem = f"{photo.stem}-{number}"
        taken |= names
        jobs.append(Job(photo, *(output / f"{stem}{end}" for end in RESULT_ENDINGS)))
    return jobs


def run(segmenter: Segmenter, jobs: Sequence[Job], *, with_probabilities: bool) -> list[Failure]:
    """Segment photo after photo; say what was done, and return what failed: (photo, reason)."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    is_terminal = sys.stderr.isatty()
    failures: list[Failure] = []
    start = time.perf_counter()
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not is_terminal) as bar:
        task = bar.add_task("", total=len(jobs))
        for job in jobs:
            bar.update(task, description=escape(job.photo.name))
            try:
                result = segmenter(job.photo)
                _write(result, job, with_probabilities=with_probabilities)
            except EXPECTED_ERRORS as error:
                failures.append((str(job.photo), one_line(error)))
            else:
                if not is_terminal:
                    click.echo(f"{job.photo} -> {job.labels}  {_summary(result)}")
            bar.advance(task)
    seconds = time.perf_counter() - start
    click.echo(
        f"{len(jobs) - len(failures)} of {len(jobs)} photos labelled in {seconds:.1f} s; "
        f"results are in {jobs[0].labels.parent}/"
    )
    return failures


def _open_segmenter(weights: str, options: dict[str, Any], output: Path) -> Segmenter:
    from ..predict import Segmenter

    segmenter = Segmenter(weights, **options)
    make_output(output)
    entry = segmenter.entry
    click.echo(f"weights {entry.name}" + (f" ({entry.notice})" if entry.notice else ""))
    click.echo(f"dense CRF {segmenter.crf_note}")
    return segmenter


def _write(result: Segmentation, job: Job, *, with_probabilities: bool) -> None:
    from ..image_io import write_image, write_probabilities

    result.save(job.labels)
    write_image(job.overlay, result.overlay())
    if with_probabilities:
        write_probabilities(job.probabilities, result.probabilities, result.label_set)


def _summary(result: Segmentation) -> str:
    from ..visualize import class_name, class_shares, percent

    largest = [
        f"{class_name(index, result.label_set)} {percent(share)}"
        for index, share in class_shares(result.labels)[:3]
    ]
    return f"{result.timings['total']:.2f} s  {', '.join(largest)}"
