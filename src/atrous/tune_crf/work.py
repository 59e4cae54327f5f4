"""The folder of a search, and the work on its images."""

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
from ..errors import InputError
from ..image_io import write_probabilities
from ..metrics import confusion_matrix, iou_counts, miou, trimap_confusions
from ..metrics.confusion import Counts
from ..predict import Segmenter
from ..scores import SUFFIXES, read_scores
from .grid import Grid, Point
from .tuning import BAND_PX

# Classes below this in every pixel of an image share a channel while searching: less work, and
# nearly the same labels. The report is made with every class, as `Segmenter` runs.
PRUNE_BELOW = 1e-3

Progress = Callable[[str, int, int], None]
Measure = Callable[[int, DenseCRF | None], Counts]


class Work:
    """The files of a search, and the work on its images, several at a time."""

    def __init__(
        self,
        dataset: Dataset,
        folder: Path,
        given: Path | None,
        workers: int,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.dataset = dataset
        self.folder = folder
        self.given = given
        self.workers = workers
        self.progress = progress
        self.say = say

    def check_settings(self, settings: dict[str, Any]) -> None:
        """Refuse a folder that another search has begun."""
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
        """Run the network on what is not yet saved."""
        if self.given is not None:
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
        self, points: Iterable[Point], images: Sequence[int], grid: Grid, what: str
    ) -> dict[Point, float]:
        """Give mean IoU of every point; those in points.jsonl are not computed again."""
        path = self.folder / "points.jsonl"
        known = _read_points(path)
        points = list(points)
        missing = [point for point in points if point not in known]
        what = f"{what}, {len(missing)} points on {len(images)} images"
        crfs = {
            point: DenseCRF(grid.params(point), prune_below=PRUNE_BELOW, threads=1)
            for point in missing
        }
        jobs = [(point, (index, crf)) for point, crf in crfs.items() for index in images]
        totals: dict[Point, Any] = dict.fromkeys(missing, 0)
        left = dict.fromkeys(missing, len(images))
        with closing(self._each(self.confusion, jobs)) as results:
            for done, (point, confusion) in enumerate(results, start=1):
                totals[point] = totals[point] + confusion
                left[point] -= 1
                if not left[point]:
                    known[point] = miou(totals[point])
                    with path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps([*point, known[point]]) + "\n")
                self.progress(what, done, len(jobs))
        return {point: known[point] for point in points}

    def count(
        self,
        measure: Measure,
        images: Sequence[int],
        crf: DenseCRF | None,
        what: str,
    ) -> list[Counts]:
        """Measure every image, several at a time; in their order."""
        found: dict[int, Counts] = {}
        jobs = [(index, (index, crf)) for index in images]
        with closing(self._each(measure, jobs)) as results:
            for done, (index, counts) in enumerate(results, start=1):
                found[index] = counts
                self.progress(what, done, len(images))
        return [found[index] for index in images]

    def _each(
        self,
        measure: Measure,
        jobs: Iterable[tuple[Any, tuple[int, DenseCRF | None]]],
    ) -> Generator[tuple[Any, Counts]]:
        """Run jobs in threads (the kernel lets them run side by side); as they finish."""
        with ThreadPoolExecutor(self.workers) as pool:
            futures: dict[Future[Counts], Any] = {
                pool.submit(measure, *arguments): key for key, arguments in jobs
            }
            try:
                for future in as_completed(list(futures)):
                    # Popped with its result: those of a round would pile up to gigabytes.
                    yield futures.pop(future), future.result()
            finally:  # Ctrl-C waits for the images at work alone
                pool.shutdown(wait=False, cancel_futures=True)

    def confusion(self, index: int, crf: DenseCRF | None) -> Counts:
        """Compare an image's labels with the truth, (K, K)."""
        truth, predicted = self._labels(index, crf)
        return confusion_matrix(truth, predicted, **self._kinds())

    def both_counts(self, index: int, crf: DenseCRF | None) -> Counts:
        """Count intersections and unions in the whole image and in the band, (2, 2, K)."""
        truth, predicted = self._labels(index, crf)
        whole = confusion_matrix(truth, predicted, **self._kinds())
        band = trimap_confusions(truth, predicted, bands_px=(BAND_PX,), **self._kinds())[0]
        return np.stack([iou_counts(whole), iou_counts(band)])

    def _labels(self, index: int, crf: DenseCRF | None) -> tuple[Any, Any]:
        sample = self.dataset[index]
        path = self._saved(sample.name)
        probabilities = read_scores(path, sample.image.shape[:2]).probabilities
        classes = self.dataset.label_set.num_classes
        if len(probabilities) != classes:
            raise InputError(
                f"{path} holds {len(probabilities)} classes, but {self.dataset.name} has {classes}"
            )
        if crf is not None:
            probabilities = crf.refine(probabilities, sample.image)
        return sample.labels, probabilities.argmax(0)

    def _saved(self, name: str) -> Path:
        folder = self.given or self.folder / "probabilities"
        for suffix in sorted(SUFFIXES, reverse=True):  # .npz first
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
        raise FileNotFoundError(
            f"{folder} holds no {name}.npz or {name}.npy; save its scores there"
        )

    def _kinds(self) -> dict[str, Any]:
        labels = self.dataset.label_set
        return {"num_classes": labels.num_classes, "ignore_index": labels.ignore_index}


def _read_points(path: Path) -> dict[Point, float]:
    """Read the finished points; a line that a crash cut short is taken out of the file."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_text(path, whole)
    rows = [json.loads(line) for line in whole.splitlines()]
    return {(weight, xy_std, rgb_std): score for weight, xy_std, rgb_std, score in rows}
