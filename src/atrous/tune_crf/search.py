"""The paper's search from coarse to fine, and the evaluation of its result on other images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_file import write_text
from ..crf import DenseCRF
from ..data import Dataset
from ..errors import InputError
from ..evaluation import check_classes
from ..image_io import StrPath
from ..metrics import bootstrap_gain, miou
from ..predict import Segmenter
from .grid import PAPER, Grid, Point
from .tuning import Tuning
from .work import Progress, Work

SEARCH_IMAGES = 100  # as many as the paper's authors searched on


def tune(
    segmenter: Segmenter,
    dataset: Dataset,
    work: StrPath,
    *,
    probabilities: StrPath | None = None,
    search_images: int | None = None,
    report_images: int | None = None,
    grid: Grid = PAPER,
    seed: int = 0,
    resamples: int = 1000,
    workers: int | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Tuning:
    """Search the bilateral kernel's weight and widths on one part of a split, report on another.

    The network runs once per image; the CRF then starts from the saved probabilities. A search that
    was interrupted resumes from the folder `work`, which holds `settings.json`, `probabilities/`,
    the finished points (`points.jsonl`) and, at the end, `report.json`.

    Args:
        segmenter: Network and options; its CRF is ignored.
        dataset: Images with labels, of the network's classes.
        work: Folder of this search; created if missing.
        probabilities: Folder of saved scores NAME.npz or NAME.npy (see `scores.read_scores`), used
            instead of running the network.
        search_images: Number of images to search on; None for 100, or half of a split with fewer
            than 200.
        report_images: Number of other images to report on; None for all others.
        grid: The parameters to compare.
        seed: Random seed of the choice of images and of the bootstrap.
        resamples: Number of bootstrap samples for the intervals.
        workers: Number of images processed at a time, one thread each; None for one per core.
            Results do not depend on it.
        progress: Called with (activity, number done, total number) after each image.
        say: Called with a line of text at each stage.

    Returns:
        The best parameters and their gain in mean IoU.

    Raises:
        InputError: If classes differ, there are too few images, or `work` belongs to another
            search.
        DataError: If saved scores do not fit the data set.
        FileNotFoundError: If an image has no saved scores in `probabilities`.

    Source: DeepLab v2, section 4.1: coarse to fine on a subset of val, 10 mean-field iterations.
    """
    check_classes(segmenter, dataset.label_set, dataset.name)
    search, report = _draw(len(dataset), search_images, report_images, seed)
    run = Work(
        dataset,
        Path(work).expanduser(),
        None if probabilities is None else Path(probabilities).expanduser(),
        workers or _count_cores(),
        progress or (lambda activity, done, total: None),
        say or (lambda line: None),
    )
    run.check_settings(_settings(segmenter, dataset, search, report, grid, run.given_scores))
    run.save_probabilities(segmenter, search + report)
    before = miou(np.sum(run.count(run.confusion, search, None, "without the CRF"), axis=0))
    run.say(f"mean IoU of {len(search)} images without the CRF: {before:.4f}")
    best, scores = _search(run, search, grid)
    params = grid.params(best)
    run.say(f"evaluating on {len(report)} images that the search did not use")
    counts = [
        np.stack(run.count(run.both_counts, report, crf, f"report {name} the CRF"))
        for name, crf in (("without", None), ("with", DenseCRF(params, threads=1)))
    ]  # twice (N, 2, 2, K): image; whole image or band; intersections or unions; class
    whole, band = (
        bootstrap_gain(counts[0][:, part], counts[1][:, part], resamples=resamples, seed=seed)
        for part in (0, 1)
    )
    tuning = Tuning(
        f"{dataset.name}/{dataset.split}",
        params,
        tuple(dataset.pairs[index].name for index in search),
        tuple(dataset.pairs[index].name for index in report),
        (before, scores[best]),
        len(scores),
        whole,
        band,
    )
    write_text(run.folder / "report.json", tuning.to_json())
    return tuning


def _search(run: Work, images: Sequence[int], grid: Grid) -> tuple[Point, dict[Point, float]]:
    """Search from coarse to fine; return the best point and the scores of all points."""
    rounds = grid.refinements + 1
    scores = run.score(grid.coarse(), images, grid, f"round 1 of {rounds}")
    best = _best(run, scores, 1, rounds)
    for number in range(2, rounds + 1):
        while True:  # until no neighbour is better; may leave the coarse grid
            neighbours = grid.around(best, number - 1)
            scores |= run.score(neighbours, images, grid, f"round {number} of {rounds}")
            last, best = best, _best(run, scores, number, rounds)
            if best == last:
                break
    return best, scores


def _best(run: Work, scores: Mapping[Point, float], number: int, rounds: int) -> Point:
    """Return the point of the highest score; of equal ones, the weakest and narrowest kernel."""
    best = min(scores, key=lambda point: (-scores[point], point))
    weight, xy_std, rgb_std = best
    run.say(
        f"round {number} of {rounds}: best of {len(scores)} is weight {weight:g}, {xy_std:g} px, "
        f"{rgb_std:g} grey levels: mean IoU {scores[best]:.4f}"
    )
    return best


def _draw(
    count: int, search: int | None, report: int | None, seed: int
) -> tuple[list[int], list[int]]:
    """Draw the indices of the images to search on and of those to report on, both sorted."""
    search = min(SEARCH_IMAGES, count // 2) if search is None else search
    report = count - search if report is None else report
    if search < 1 or report < 1 or search + report > count:
        raise InputError(
            f"{search} images to search on and {report} to report on were asked for, but there are "
            f"{count}; both parts need at least one image, and no image can be in both"
        )
    order = np.random.default_rng(seed).permutation(count).tolist()
    return sorted(order[:search]), sorted(order[search : search + report])


def _settings(
    segmenter: Segmenter,
    dataset: Dataset,
    search: Sequence[int],
    report: Sequence[int],
    grid: Grid,
    given_scores: Path | None,
) -> dict[str, Any]:
    """Collect everything that the saved probabilities and points depend on."""
    return {
        "dataset": f"{dataset.name}/{dataset.split}",
        "search": [dataset.pairs[index].name for index in search],
        "report": [dataset.pairs[index].name for index in report],
        "probabilities": None if given_scores is None else str(given_scores.resolve()),
        "weights": _digest(segmenter) if given_scores is None else None,
        "scales": list(segmenter.scales),
        "flip": segmenter.flip,
        "spatial_weight": grid.spatial_weight,
        "spatial_xy_std": grid.spatial_xy_std,
        "iterations": grid.iterations,
    }


def _digest(segmenter: Segmenter) -> str:
    state = segmenter.model.state_dict()
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(state[name].cpu().numpy()).tobytes())
    return digest.hexdigest()


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
