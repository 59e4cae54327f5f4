"""The folder of a search, and the computations on its images."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_file import write_text
from ..crf import DenseCRF
from ..data import Dataset
from ..errors import DataError, InputError
from ..image_io import write_probabilities
from ..metrics import confusion_matrix, iou_counts, miou, trimap_confusions
from ..metrics.confusion import Counts
from ..predict import Segmenter
from ..scores import SUFFIXES, read_scores
from .grid import Grid, Point
from .tuning import BAND_PX

# While searching, classes below this probability in every pixel of an image share one channel,
# which is faster and gives nearly the same labels. The report uses every class, as in `Segmenter`.
PRUNE_BELOW = 1e-3

Progress = Callable[[str, int, int], None]
Measure = Callable[[int, DenseCRF | None], Counts]


class Work:
    """A search's files and its computations, on several images at a time.

    Attributes:
        dataset: Images with labels.
        folder: Folder of the search.
        given_scores: Folder of scores that the user gave; None for those of the network.
        workers: Number of images processed at a time.
        progress: Called with (activity, number done, total number).
        say: Called with a line of text at each stage.
    """

    def __init__(
        self,
        dataset: Dataset,
        folder: Path,
        given_scores: Path | None,
        workers: int,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.dataset = dataset
        self.folder = folder
        self.given_scores = given_scores
        self.workers = workers
        self.progress = progress
        self.say = say

    def check_settings(self, settings: dict[str, Any]) -> None:
        """Write the settings of a new search; refuse the folder of a search with other settings."""
        path = self.folder / "settings.json"
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(settings, indent=1))
            return
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
            changed = [key for key in settings if settings[key] != earlier.get(key)]
        except (ValueError, AttributeError):
            changed = ["unreadable settings"]
        if changed:
            raise InputError(
                f"{self.folder} belongs to another search ({', '.join(changed)} differ; see "
                f"{path}); choose another folder, or delete this one"
            )

    def save_probabilities(self, segmenter: Segmenter, images: Sequence[int]) -> None:
        """Run the network on the images whose probabilities are not saved yet."""
        if self.given_scores is not None:
            return
        folder = self.folder / "probabilities"
        folder.mkdir(exist_ok=True)
        network = segmenter.with_options(crf=False)
        for done, index in enumerate(images, start=1):
            path = folder / f"{self.dataset.pairs[index].name}.npz"
            if not path.exists():
                result = network(self.dataset.pairs[index].image)
                write_probabilities(path, result.probabilities, self.dataset.label_set)
            self.progress("network", done, len(images))

    def score(
        self, points: Iterable[Point], images: Sequence[int], grid: Grid, activity: str
    ) -> dict[Point, float]:
        """Return the mean IoU of every point; those in points.jsonl are not computed again."""
        path = self.folder / "points.jsonl"
        finished = _read_points(path)
        points = list(points)
        missing = [point for point in points if point not in finished]
        activity = f"{activity}, {len(missing)} points on {len(images)} images"
        crfs = {
            point: DenseCRF(grid.params(point), prune_below=PRUNE_BELOW, threads=1)
            for point in missing
        }
        jobs = [(point, (index, crf)) for point, crf in crfs.items() for index in images]
        totals: dict[Point, Any] = dict.fromkeys(missing, 0)
        remaining = dict.fromkeys(missing, len(images))
        with closing(self._run_jobs(self.confusion, jobs)) as results:
            for done, (point, confusion) in enumerate(results, start=1):
                totals[point] = totals[point] + confusion
                remaining[point] -= 1
                if not remaining[point]:
                    finished[point] = miou(totals[point])
                    with path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps([*point, finished[point]]) + "\n")
                self.progress(activity, done, len(jobs))
        return {point: finished[point] for point in points}

    def count(
        self,
        measure: Measure,
        images: Sequence[int],
        crf: DenseCRF | None,
        activity: str,
    ) -> list[Counts]:
        """Apply `measure` to several images at a time; results are in the order of `images`."""
        found: dict[int, Counts] = {}
        jobs = [(index, (index, crf)) for index in images]
        with closing(self._run_jobs(measure, jobs)) as results:
            for done, (index, counts) in enumerate(results, start=1):
                found[index] = counts
                self.progress(activity, done, len(images))
        return [found[index] for index in images]

    def _run_jobs(
        self,
        measure: Measure,
        jobs: Iterable[tuple[Any, tuple[int, DenseCRF | None]]],
    ) -> Generator[tuple[Any, Counts]]:
        """Run jobs in threads (the kernel releases the GIL); yield (key, result) as they finish."""
        with ThreadPoolExecutor(self.workers) as pool:
            futures: dict[Future[Counts], Any] = {
                pool.submit(measure, *arguments): key for key, arguments in jobs
            }
            try:
                for future in as_completed(list(futures)):
                    # `pop` frees the result; those of a whole round take gigabytes.
                    yield futures.pop(future), future.result()
            finally:  # Ctrl-C waits only for the images in progress
                pool.shutdown(wait=False, cancel_futures=True)

    def confusion(self, index: int, crf: DenseCRF | None) -> Counts:
        """Return the (K, K) confusion matrix of an image."""
        truth, predicted = self._labels(index, crf)
        return confusion_matrix(truth, predicted, **self._classes())

    def both_counts(self, index: int, crf: DenseCRF | None) -> Counts:
        """Return intersections and unions in the whole image and in the band, (2, 2, K)."""
        truth, predicted = self._labels(index, crf)
        whole = confusion_matrix(truth, predicted, **self._classes())
        band = trimap_confusions(truth, predicted, bands_px=(BAND_PX,), **self._classes())[0]
        return np.stack([iou_counts(whole), iou_counts(band)])

    def _labels(self, index: int, crf: DenseCRF | None) -> tuple[Any, Any]:
        sample = self.dataset[index]
        path = self._scores_path(sample.name)
        probabilities = read_scores(path, sample.image.shape[:2]).probabilities
        classes = self.dataset.label_set.num_classes
        if len(probabilities) != classes:
            raise DataError(
                f"{path} holds {len(probabilities)} classes, but {self.dataset.name} has {classes}"
            )
        if crf is not None:
            probabilities = crf.refine(probabilities, sample.image)
        return sample.labels, probabilities.argmax(0)

    def _scores_path(self, name: str) -> Path:
        folder = self.given_scores or self.folder / "probabilities"
        for suffix in sorted(SUFFIXES, reverse=True):  # .npz first
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
        raise FileNotFoundError(
            f"{folder} has neither {name}.npz nor {name}.npy; save the scores of this image there"
        )

    def _classes(self) -> dict[str, Any]:
        labels = self.dataset.label_set
        return {"num_classes": labels.num_classes, "ignore_index": labels.ignore_index}


def _read_points(path: Path) -> dict[Point, float]:
    """Read the finished points; an incomplete last line, left by a crash, is removed."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    complete = text[: text.rfind("\n") + 1]
    if complete != text:
        write_text(path, complete)
    rows = [json.loads(line) for line in complete.splitlines()]
    return {(weight, xy_std, rgb_std): score for weight, xy_std, rgb_std, score in rows}
