"""`atrous crf`: the dense CRF on saved scores of any model, or on label masks."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..atomic_file import write_text
from ..errors import InputError
from .batch import Failure, check_output, files_in, images_progress, make_output, report
from .main import DEBUG_VARIABLE, one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..crf import DenseCRF
    from ..labels import LabelSet
    from ..scores import Scores

# Field of CRFParams -> its default and its meaning
CRF_OPTIONS: dict[str, tuple[float, str]] = {
    "iterations": (10, "Steps of mean field."),
    "spatial_weight": (3, "Weight of the kernel that sees places alone."),
    "spatial_xy_std": (1, "Its width in pixels."),
    "bilateral_weight": (4, "Weight of the kernel that sees places and colours."),
    "bilateral_xy_std": (67, "Its width in pixels."),
    "bilateral_rgb_std": (3, "Its width in grey levels (0-255)."),
}
SETTINGS = "crf.json"  # in OUT: what the results there were made with

POSITIVE = click.FloatRange(0, min_open=True)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@dataclass(frozen=True)
class Job:
    """A photo, its scores or labels, and where the results go.

    Attributes:
        photo: The image file.
        source: The file of scores, or the label mask.
        labels: OUT/STEM.png, or None where it is not wanted.
        probabilities: OUT/STEM.npz, or None where it is not wanted.
    """

    photo: Path
    source: Path
    labels: Path | None
    probabilities: Path | None

    def is_done(self) -> bool:
        return all(path is None or path.exists() for path in (self.labels, self.probabilities))


def crf_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each parameter of the CRF."""
    for name, (default, meaning) in reversed(CRF_OPTIONS.items()):
        option = f"--{name.replace('_', '-')}"
        kind = int if name == "iterations" else float
        command = click.option(option, type=kind, default=default, show_default=True, help=meaning)(
            command
        )
    return command


@click.command()
@click.option("--images", required=True, type=FOLDER, help="Folder of the photos.")
@click.option("--probabilities", type=FOLDER, help="Folder of scores, STEM.npy or STEM.npz.")
@click.option("--labels", type=FOLDER, help="Instead of scores: folder of label masks, STEM.png.")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder for the results."
)
@click.option(
    "--write",
    type=click.Choice(["labels", "probabilities", "both"]),
    default="labels",
    show_default=True,
    help="What to write.",
)
@click.option("--overwrite", is_flag=True, help="Do again what is there.")
@click.option(
    "--logits", is_flag=True, default=None, help="The scores are logits: take their softmax."
)
@click.option("--background", type=POSITIVE, help="Score of a class 0 that the files lack.")
@click.option("--background-power", type=POSITIVE, help="The same, its score (1 - highest)^POWER.")
@click.option(
    "--gt-prob",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="With --labels: how much a mask is trusted.  [default: 0.7]",
)
@click.option(
    "--unsure", type=int, help="With --labels: the label that is no class.  [default: 255]"
)
@click.option(
    "--num-classes",
    type=click.IntRange(1, 65536),
    help="With --labels: classes that take part.  [default: those that the mask shows]",
)
@crf_options
@click.option(
    "--accuracy",
    type=click.Choice(["lattice", "high"]),
    default="lattice",
    show_default=True,
    help="lattice: as pydensecrf; high: nearer to the exact result, slower.",
)
@click.option(
    "--prune-below",
    type=float,
    default=0.0,
    show_default=True,
    help="Merge classes that are below this in every pixel; 0.001 saves most of the time.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Images at a time, one thread each; 1: all threads on one image.  [default: one a core]",
)
def command(
    images: Path,
    probabilities: Path | None,
    labels: Path | None,
    output: Path,
    write: str,
    overwrite: bool,
    workers: int | None,
    **options: Any,
) -> None:
    """Refine saved class scores, or label masks, along the edges of their photos.

    \b
    Files belong together by stem: PROBABILITIES/STEM.npy or .npz (or LABELS/STEM.png) and
    IMAGES/STEM.jpg, .png … become
      OUT/STEM.png  class indices, with PASCAL VOC's colours as palette
      OUT/STEM.npz  with --write probabilities or both: `unary`, `step` and
                    `names`; exp(-step * unary) is (classes, rows, columns)

    \b
    A file of scores holds
      an array (classes, rows, columns) of its photo's size: float16, float32,
        float64, or uint8 for 0 to 1 in 255 steps; classes last or another size
        are refused. In an .npz of several arrays it is called `probabilities`.
      or what `atrous segment --probabilities` writes
      or class activation maps, with --background or --background-power: `keys`
        with `high_res` or `cam`, or one map a class number. Class c becomes
        label c + 1, and 0 is the background.

    Results that are there are left as they are, so that a run that was stopped goes on where it
    was. What fails is listed at the end, and the rest is done.
    """  # noqa: D301 (click reads \b)
    if (probabilities is None) == (labels is None):
        raise click.UsageError("give either --probabilities or --labels")
    source = probabilities or labels or images
    check_output(output, (images, source), what="photos, scores or masks")
    reading, crf_values = _split(options, is_labels=labels is not None)
    count = workers or _cores()
    crf = _make_crf(crf_values, threads=1 if count > 1 else None)
    jobs, failures = plan(images, source, output, is_labels=labels is not None, write=write)
    if jobs:
        make_output(output)
        _check_settings(output, {**reading, **crf_values}, overwrite=overwrite)
        left = jobs if overwrite else [job for job in jobs if not job.is_done()]
        if len(left) < len(jobs):
            click.echo(f"{len(jobs) - len(left)} of {len(jobs)} were there already and are left")
        failures += run(crf, left, reading, is_labels=labels is not None, workers=count)
    report(failures)


def plan(
    images: Path, source: Path, output: Path, *, is_labels: bool, write: str
) -> tuple[list[Job], list[Failure]]:
    """Pair scores or masks with their photos.

    Returns:
        Jobs in the order of names; and (file, reason) of what has no partner, or several.
    """
    from ..image_io import IMAGE_SUFFIXES
    from ..scores import SUFFIXES

    photos = _by_stem(files_in(images, IMAGE_SUFFIXES))
    sources = _by_stem(files_in(source, IMAGE_SUFFIXES if is_labels else SUFFIXES))
    jobs: list[Job] = []
    failures: list[Failure] = []
    for stem, files in sources.items():
        partners = photos.get(stem, [])
        if len(files) == len(partners) == 1:
            labels = output / f"{stem}.png" if write != "probabilities" else None
            npz = output / f"{stem}.npz" if write != "labels" else None
            jobs.append(Job(partners[0], files[0], labels, npz))
        elif not partners:
            failures += [(str(file), f"no photo {images / stem}.*") for file in files]
        else:
            several = ", ".join(path.name for path in (*files, *partners))
            failures.append((str(files[0]), f"{several} share a stem; which belong together?"))
    if not sources:
        kind = "label masks" if is_labels else "scores (.npy, .npz)"
        failures.append((str(source), f"no {kind} in this folder"))
    lonely = sorted(set(photos) - set(sources))
    if lonely and sources:
        first = photos[lonely[0]][0]
        kind = "mask" if is_labels else "scores"
        click.echo(f"{len(lonely)} photos have no {kind} and are left out, first {first.name}")
    return jobs, failures


def run(
    crf: DenseCRF,
    jobs: Sequence[Job],
    reading: dict[str, Any],
    *,
    is_labels: bool,
    workers: int,
) -> list[Failure]:
    """Refine image after image, several at a time; return what failed."""
    start = time.perf_counter()
    reasons: dict[Job, str] = {}
    with ThreadPoolExecutor(workers) as pool, images_progress(len(jobs)) as advance:
        work = {pool.submit(refine, crf, job, reading, is_labels=is_labels): job for job in jobs}
        try:
            for future in as_completed(work):
                error = future.exception()
                if isinstance(error, (ValueError, OSError, MemoryError)):
                    reasons[work[future]] = one_line(error)
                elif isinstance(error, Exception) and not os.environ.get(DEBUG_VARIABLE):
                    reasons[work[future]] = f"{type(error).__name__}: {one_line(error)}"
                elif error is not None:
                    raise error
                advance()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C waits for images at work alone
    seconds = time.perf_counter() - start
    if jobs:
        folder = (jobs[0].labels or jobs[0].probabilities or Path()).parent
        click.echo(
            f"{len(jobs) - len(reasons)} of {len(jobs)} images refined in {seconds:.1f} s "
            f"({len(jobs) / seconds:.2f} images/s); results are in {folder}/"
        )
    return [(str(job.source), reasons[job]) for job in jobs if job in reasons]


def refine(crf: DenseCRF, job: Job, reading: dict[str, Any], *, is_labels: bool) -> None:
    """Take one image from its files to its results."""
    from ..image_io import read_image, read_labels, write_labels, write_probabilities
    from ..scores import from_labels, read_scores

    image = read_image(job.photo)
    if is_labels:
        mask = read_labels(job.source)
        if mask.shape != image.shape[:2]:
            raise InputError(
                f"{job.source} is {mask.shape[0]}x{mask.shape[1]} but {job.photo.name} is "
                f"{image.shape[0]}x{image.shape[1]}; masks must have their photo's size"
            )
        scores = from_labels(mask, **reading)
    else:
        scores = read_scores(job.source, image.shape[:2], **reading)
    refined = crf.refine(scores.probabilities, image)
    if job.probabilities is not None:
        write_probabilities(job.probabilities, refined, _named_classes(scores))
    if job.labels is not None:
        write_labels(job.labels, _labels(refined, scores.labels), _palette(max(scores.labels) + 1))


def _labels(refined: NDArray[np.float32], classes: Sequence[int]) -> NDArray[Any]:
    import numpy as np

    table = np.array(classes, np.uint8 if max(classes) < 256 else np.uint16)
    return table[refined.argmax(axis=0)]


@cache
def _palette(num_labels: int) -> LabelSet:
    """Give every label VOC's colour; 255 is the pale yellow of VOC's borders anyway."""
    from ..labels import LabelSet, voc_palette

    count = max(num_labels, 256)
    return LabelSet(tuple(map(str, range(count))), voc_palette(count), None)


def _named_classes(scores: Scores) -> LabelSet:
    """Name the rows as their file does, or by their label."""
    from ..labels import LabelSet, voc_palette

    names = scores.names or tuple(map(str, scores.labels))
    return LabelSet(names, voc_palette(len(names)), None)


def _by_stem(files: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(file.stem, []).append(file)
    return found


def _cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _split(options: dict[str, Any], *, is_labels: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the options into those of reading and those of the CRF."""
    of_labels = {"gt_prob": 0.7, "unsure": 255, "num_classes": None}
    of_scores = {"logits": False, "background": None, "background_power": None}
    wrong = of_scores if is_labels else of_labels
    for name in wrong:
        if options.pop(name) is not None:
            needed = "--probabilities" if is_labels else "--labels"
            raise click.UsageError(f"--{name.replace('_', '-')} goes with {needed}")
    reading = {
        name: default if (value := options.pop(name)) is None else value
        for name, default in (of_labels if is_labels else of_scores).items()
    }
    if is_labels:
        reading["unsure_label"] = reading.pop("unsure")
    elif sum(bool(value) for value in reading.values()) > 1:
        raise click.UsageError("give one of --logits, --background and --background-power")
    return reading, options


def _make_crf(values: dict[str, Any], *, threads: int | None) -> DenseCRF:
    from ..crf import CRFParams, DenseCRF

    params = {name: values[name] for name in CRF_OPTIONS}
    others = {name: value for name, value in values.items() if name not in params}
    try:
        return DenseCRF(CRFParams(**params), threads=threads, **others)
    except InputError as error:
        raise click.UsageError(str(error)) from error


def _check_settings(output: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
    """Keep results of different settings apart: OUT/crf.json says which a folder was made with."""
    path = output / SETTINGS
    if path.exists() and not overwrite:
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
            changed = [key for key in settings if settings[key] != earlier[key]]
        except (ValueError, LookupError, TypeError):
            earlier, changed = {}, ["settings"]
        if changed:
            raise click.UsageError(
                f"{output} holds results of other settings ({', '.join(changed)}; see {path}); "
                "choose another folder, or give --overwrite"
            )
        return
    write_text(path, json.dumps(settings, indent=2) + "\n")
