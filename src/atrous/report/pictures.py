"""The pictures of the val split that a network labels best and worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data import Dataset
from ..data.base import Sample
from ..doctor.examination import spread
from ..labels import LabelSet
from ..metrics import confusion_matrix, miou
from ..predict import Segmenter
from ..visualize import overlay

PANEL_WIDTH = 420
GAP = 6


@dataclass(frozen=True)
class Labelled:
    """A picture with its score.

    Attributes:
        name: Of the sample.
        miou: Mean IoU over the classes in truth and prediction of this picture, 0..1.
        panels: (H, W, 3) uint8: photo, truth and prediction side by side.
    """

    name: str
    miou: float
    panels: NDArray[np.uint8]


def best_and_worst(
    segmenter: Segmenter, dataset: Dataset, *, most: int, count: int = 4
) -> tuple[list[Labelled], list[Labelled], int]:
    """Label pictures and keep the best and the worst.

    Args:
        segmenter: The trained network.
        dataset: What it is scored on.
        most: Pictures to look at, evenly spread over the data set.
        count: To keep at each end; no picture is at both.

    Returns:
        The best, best first; the worst, worst first; how many were looked at.
    """
    scored: list[tuple[float, int]] = []
    places = spread(len(dataset), most)
    for index in places:
        sample = dataset[index]
        score = _score(sample, segmenter(sample.image).labels, dataset.label_set)
        if not np.isnan(score):
            scored.append((score, index))
    scored.sort()
    count = min(count, len(scored) // 2) if len(scored) > 1 else len(scored)
    worst, best = scored[:count], scored[len(scored) - count :][::-1]
    return (
        [_show(segmenter, dataset, index, score) for score, index in best],
        [_show(segmenter, dataset, index, score) for score, index in worst],
        len(places),
    )


def _score(sample: Sample, predicted: NDArray[Any], label_set: LabelSet) -> float:
    counts = confusion_matrix(
        sample.labels,
        predicted,
        num_classes=label_set.num_classes,
        ignore_index=label_set.ignore_index,
    )
    return miou(counts)


def _show(segmenter: Segmenter, dataset: Dataset, index: int, score: float) -> Labelled:
    sample = dataset[index]
    panels = [Image.fromarray(sample.image)]
    panels += [
        overlay(sample.image, labels, dataset.label_set, alpha=0.7, legend=False)
        for labels in (sample.labels, segmenter(sample.image).labels)
    ]
    width = min(PANEL_WIDTH, panels[0].width)
    size = (width, max(1, round(panels[0].height * width / panels[0].width)))
    strip = np.full((size[1], 3 * width + 2 * GAP, 3), 255, np.uint8)
    for place, panel in enumerate(panels):
        left = place * (width + GAP)
        strip[:, left : left + width] = np.asarray(panel.resize(size, Image.Resampling.LANCZOS))
    return Labelled(sample.name, score, strip)
