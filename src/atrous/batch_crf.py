"""The dense CRF on folders: saved scores of any model, or label masks, and their images."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .atomic_file import write_text
from .crf import CRFParams, DenseCRF
from .data import open_masks
from .data.label_files import LabelReader
from .errors import EXPECTED_ERRORS, InputError, one_line
from .folders import check_output_folder, create_output_folder, list_files
from .image_io import (
    IMAGE_SUFFIXES,
    StrPath,
    read_image,
    write_labels,
    write_probabilities,
)
from .labels import LabelSet, voc_palette
from .scores import SUFFIXES, Scores, from_labels, read_scores
from .tables import to_table

Results = Literal["labels", "probabilities", "both"]
Progress = Callable[[int, int], None]

SETTINGS = "crf.json"  # in the output folder: the settings of the results there
# How scores and masks are read; options of the other kind are refused.
SCORE_DEFAULTS: dict[str, Any] = {"logits": False, "background": None, "background_power": None}
MASK_DEFAULTS: dict[str, Any] = {"gt_prob": 0.7, "num_classes": None, "unsure_label": 255}


@dataclass(frozen=True)
class FolderResult:
    """What `refine_folder` did with each file."""

    output: Path
    """Folder of the results."""
    refined: tuple[Path, ...] = ()
    """Files of scores or masks that were refined."""
    skipped: tuple[Path, ...] = ()
    """Files whose results existed."""
    left_out: tuple[Path, ...] = ()
    """Images without scores or a mask."""
    failed: dict[Path, str] = field(default_factory=dict[Path, str])
    """File -> reason."""
    seconds: float = 0.0
    """Time that the images took; 0 where there was nothing left to refine."""


@dataclass(frozen=True)
class _Job:
    """One image: its file, its scores or mask, and the results to write (None: not wanted)."""

    image: Path
    source: Path
    labels: Path | None
    probabilities: Path | None

    def is_done(self) -> bool:
        return all(path is None or path.exists() for path in (self.labels, self.probabilities))


def refine_folder(
    images: StrPath,
    output: StrPath,
    *,
    probabilities: StrPath | None = None,
    labels: StrPath | None = None,
    params: CRFParams | None = None,
    write: Results = "labels",
    overwrite: bool = False,
    logits: bool | None = None,
    background: float | None = None,
    background_power: float | None = None,
    gt_prob: float | None = None,
    unsure_label: int | None = None,
    num_classes: int | None = None,
    accuracy: Literal["lattice", "high"] = "lattice",
    prune_below: float = 0.0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> FolderResult:
    """Refine a folder of saved class scores, or of label masks, along the edges of their images.

    Files are matched by stem: `scores/a.npz` (or `masks/a.png`) and `images/a.jpg` become
    `output/a.png` and `output/a.npz`. Existing results are skipped, so that an interrupted run
    resumes. `output/crf.json` keeps the settings: results of other settings are not mixed in.

    Args:
        images: Folder of the images.
        output: Folder for the results; it is created.
        probabilities: Folder of scores, .npy or .npz, as `atrous.scores.read_scores` reads them.
        labels: Folder of label masks, instead of scores. A list of classes in the folder or beside
            it says how they are read, as for a data set.
        params: Parameters of the CRF; the paper's by default.
        write: "labels" (palette PNG), "probabilities" (compressed .npz), or "both".
        overwrite: Replace existing results.
        logits: For scores: they are logits, and softmax is applied.
        background: For scores: they lack class 0, which gets this score.
        background_power: For scores: they lack class 0, which gets (1 - highest score) to this
            power.
        gt_prob: For masks: probability of the label that the mask shows; 0.7 by default.
        unsure_label: For masks: the label of pixels without a class; 255 by default.
        num_classes: For masks: number of classes; by default, the classes in each mask.
        accuracy: As for `DenseCRF`.
        prune_below: As for `DenseCRF`.
        workers: Images at a time, with one thread each; 1 uses all threads for one image. The
            number of cores by default.
        progress: Called with (images done, images in all) after each image.

    Returns:
        What was refined, skipped, left out and failed. An image that fails does not stop the
        others.

    Raises:
        InputError: If options contradict each other or are out of range, the output folder holds
            the inputs, or it holds results of other settings and `overwrite` is off. Also if all
            masks hold only 0 and 255, and no list of classes says what that means.
        OSError: If a folder cannot be read, or the output folder cannot be written.
    """
    folder, target = Path(images), Path(output)
    if probabilities is not None and labels is None:
        source, is_masks = Path(probabilities), False
    elif labels is not None and probabilities is None:
        source, is_masks = Path(labels), True
    else:
        raise InputError("give either probabilities or labels")
    if write not in get_args(Results):
        raise InputError(f"write is {write!r}; it must be {' or '.join(get_args(Results))}")
    check_output_folder(target, (folder, source), what="images, scores or masks")
    reading = _reading(
        is_masks,
        {"logits": logits, "background": background, "background_power": background_power},
        {"gt_prob": gt_prob, "num_classes": num_classes, "unsure_label": unsure_label},
    )
    count = _count_cores() if workers is None else workers
    if count < 1:
        raise InputError(f"workers is {workers}; it must be 1 or more")
    crf = DenseCRF(
        params or CRFParams(),
        accuracy=accuracy,
        prune_below=prune_below,
        threads=1 if count > 1 else None,
    )
    jobs, left_out, failed = _match(folder, source, target, is_masks=is_masks, write=write)
    if not jobs:
        return FolderResult(target, left_out=left_out, failed=failed)
    read_mask = open_masks(source, unknown=reading["unsure_label"]) if is_masks else None
    create_output_folder(target)
    settings = {**reading, **to_table(crf.params), "accuracy": accuracy, "prune_below": prune_below}
    _check_settings(target, settings, overwrite=overwrite)
    open_jobs = jobs if overwrite else [job for job in jobs if not job.is_done()]
    if not open_jobs:
        skipped = tuple(job.source for job in jobs)
        return FolderResult(target, skipped=skipped, left_out=left_out, failed=failed)
    start = time.perf_counter()
    reasons = _run(crf, open_jobs, reading, read_mask=read_mask, workers=count, progress=progress)
    return FolderResult(
        target,
        refined=tuple(job.source for job in open_jobs if job.source not in reasons),
        skipped=tuple(job.source for job in jobs if job not in open_jobs),
        left_out=left_out,
        failed=failed | {job.source: reasons[job.source] for job in jobs if job.source in reasons},
        seconds=time.perf_counter() - start,
    )


def _reading(is_masks: bool, of_scores: dict[str, Any], of_masks: dict[str, Any]) -> dict[str, Any]:
    """Complete the options for reading scores or masks; refuse those for the other kind."""
    given, wrong = (of_masks, of_scores) if is_masks else (of_scores, of_masks)
    for name, value in wrong.items():
        if value is not None:
            needed = "scores, not label masks" if is_masks else "label masks, not scores"
            raise InputError(f"{name} is an option for {needed}")
    defaults = MASK_DEFAULTS if is_masks else SCORE_DEFAULTS
    reading: dict[str, Any] = {
        name: default if given[name] is None else given[name] for name, default in defaults.items()
    }
    if is_masks:
        if not 0 < reading["gt_prob"] < 1:
            raise InputError(f"gt_prob is {reading['gt_prob']}; it must be between 0 and 1")
    elif sum(bool(value) for value in reading.values()) > 1:
        raise InputError("give only one of logits, background and background_power")
    return reading


def _match(
    folder: Path, source: Path, target: Path, *, is_masks: bool, write: Results
) -> tuple[list[_Job], tuple[Path, ...], dict[Path, str]]:
    """Match scores or masks with images by stem.

    Returns:
        Jobs by name; images that are left out; and files without exactly one partner -> reason.
    """
    images = _by_stem(list_files(folder, IMAGE_SUFFIXES))
    sources = _by_stem(list_files(source, IMAGE_SUFFIXES if is_masks else SUFFIXES))
    jobs: list[_Job] = []
    failed: dict[Path, str] = {}
    for stem, files in sources.items():
        partners = images.get(stem, [])
        if len(files) == len(partners) == 1:
            png = target / f"{stem}.png" if write != "probabilities" else None
            npz = target / f"{stem}.npz" if write != "labels" else None
            jobs.append(_Job(partners[0], files[0], png, npz))
        elif not partners:
            failed |= dict.fromkeys(files, f"no image {folder / stem}.*")
        else:
            names = ", ".join(path.name for path in (*files, *partners))
            failed[files[0]] = f"{names} share a stem; which belong together?"
    if not sources:
        kind = "label masks" if is_masks else "scores (.npy, .npz)"
        failed[source] = f"no {kind} in this folder"
        return jobs, (), failed
    left_out = tuple(images[stem][0] for stem in sorted(set(images) - set(sources)))
    return jobs, left_out, failed


def _run(
    crf: DenseCRF,
    jobs: Sequence[_Job],
    reading: dict[str, Any],
    *,
    read_mask: LabelReader | None,
    workers: int,
    progress: Progress | None,
) -> dict[Path, str]:
    """Refine the images, several at a time; return file -> reason for those that failed."""
    reasons: dict[Path, str] = {}
    with ThreadPoolExecutor(workers) as pool:
        work = {pool.submit(_refine, crf, job, reading, read_mask): job for job in jobs}
        try:
            for done, future in enumerate(as_completed(work), start=1):
                try:
                    future.result()
                except EXPECTED_ERRORS as error:
                    reasons[work[future].source] = one_line(error)
                if progress is not None:
                    progress(done, len(jobs))
        finally:
            # After Ctrl-C or a bug, only images that have begun are finished.
            pool.shutdown(wait=False, cancel_futures=True)
    return reasons


def _refine(
    crf: DenseCRF, job: _Job, reading: dict[str, Any], read_mask: LabelReader | None
) -> None:
    """Take one image from its files to its results."""
    image = read_image(job.image)
    if read_mask is not None:
        mask = read_mask(job.source)
        if mask.shape != image.shape[:2]:
            raise InputError(
                f"{job.source} is {mask.shape[1]}x{mask.shape[0]} (width x height) but "
                f"{job.image.name} is {image.shape[1]}x{image.shape[0]}; a mask must have the size "
                "of its image"
            )
        scores = from_labels(mask, **reading)
    else:
        scores = read_scores(job.source, image.shape[:2], **reading)
    refined = crf.refine(scores.probabilities, image)
    if job.probabilities is not None:
        write_probabilities(job.probabilities, refined, _name_classes(scores))
    if job.labels is not None:
        write_labels(job.labels, _to_labels(refined, scores), _palette(max(scores.labels) + 1))


def _to_labels(refined: NDArray[np.float32], scores: Scores) -> NDArray[Any]:
    table = np.array(scores.labels, np.uint8 if max(scores.labels) < 256 else np.uint16)
    return table[refined.argmax(axis=0)]


@cache
def _palette(num_labels: int) -> LabelSet:
    """Give every label VOC's colour; 255 is the pale yellow of VOC's borders anyway."""
    count = max(num_labels, 256)
    return LabelSet(tuple(map(str, range(count))), voc_palette(count), None)


def _name_classes(scores: Scores) -> LabelSet:
    """Name the rows as their file does, or by their label."""
    names = scores.names or tuple(map(str, scores.labels))
    return LabelSet(names, voc_palette(len(names)), None)


def _by_stem(files: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(file.stem, []).append(file)
    return found


def _count_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_settings(folder: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
    """Keep results of different settings apart; crf.json says which a folder was made with."""
    path = folder / SETTINGS
    if path.exists() and not overwrite:
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
            changed = [key for key in settings if settings[key] != earlier[key]]
        except (ValueError, LookupError, TypeError):
            changed = ["settings"]
        if changed:
            raise InputError(
                f"{folder} holds results of other settings ({', '.join(changed)}; see {path}); "
                "choose another folder, or allow overwriting"
            )
        return
    write_text(path, json.dumps(settings, indent=2) + "\n")
