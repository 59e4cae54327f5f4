"""Label many images: find them, name their results, and write these."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import EXPECTED_ERRORS, one_line
from ..folders import list_files
from ..image_io import IMAGE_SUFFIXES, write_image, write_probabilities
from .segmentation import Segmentation
from .segmenter import Segmenter

RESULT_ENDINGS = (".png", "_overlay.png", ".npz")


@dataclass(frozen=True)
class Job:
    """One image and its results."""

    image: Path
    """The file to read."""
    labels: Path
    """OUTPUT/STEM.png."""
    overlay: Path
    """OUTPUT/STEM_overlay.png."""
    probabilities: Path
    """OUTPUT/STEM.npz."""


def find_images(paths: Sequence[str]) -> tuple[list[Path], dict[str, str]]:
    """Expand folders and globs.

    Returns:
        Files, each once, in order; and path -> reason for those that lead to no file.
    """
    images: dict[Path, Path] = {}
    failed: dict[str, str] = {}
    for text in paths:
        try:
            found, reason = _expand(text)
        except OSError as error:  # a folder that may not be read
            found, reason = [], one_line(error)
        images |= {file.resolve(): file for file in found if file.resolve() not in images}
        if not found:
            failed[text] = reason
    return list(images.values()), failed


def _expand(text: str) -> tuple[list[Path], str]:
    """List the files that a path stands for; and the reason if there are none."""
    path = Path(text)
    if path.is_dir():
        found = list_files(path, IMAGE_SUFFIXES)
        return found, f"no images in this folder; for those of subfolders give '{path}/**/*.jpg'"
    if path.exists():
        return [path], ""
    if glob.has_magic(text):
        found = [Path(match) for match in sorted(glob.glob(text, recursive=True))]
        return [file for file in found if file.is_file()], "matches no file"
    return [], "does not exist"


def plan_results(images: Sequence[Path], output: Path) -> list[Job]:
    """Give every image its own result files: images with one stem get STEM, STEM-2, STEM-3."""
    taken: set[str] = set()
    jobs: list[Job] = []
    for image in images:
        number, stem = 1, image.stem
        while taken & (names := {f"{stem}{end}".casefold() for end in RESULT_ENDINGS}):
            number += 1
            stem = f"{image.stem}-{number}"
        taken |= names
        jobs.append(Job(image, *(output / f"{stem}{end}" for end in RESULT_ENDINGS)))
    return jobs


def segment_images(
    segmenter: Segmenter, jobs: Sequence[Job], *, with_probabilities: bool = False
) -> Iterator[tuple[Job, Segmentation | str]]:
    """Label one image after the other and write the results.

    Yields:
        Each job with its result, or with the reason why it failed.
    """
    for job in jobs:
        try:
            result = segmenter(job.image)
            write_results(result, job, with_probabilities=with_probabilities)
        except EXPECTED_ERRORS as error:
            yield job, one_line(error)
        else:
            yield job, result


def write_results(result: Segmentation, job: Job, *, with_probabilities: bool = False) -> None:
    """Write labels and overlay, and the probabilities on request."""
    result.save(job.labels)
    write_image(job.overlay, result.overlay())
    if with_probabilities:
        write_probabilities(job.probabilities, result.probabilities, result.label_set)
