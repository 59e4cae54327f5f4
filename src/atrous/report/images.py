"""Find the images of the val split with the highest and the lowest scores."""

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
class ScoredImage:
    """An image with its score.

    Attributes:
        name: Name of the sample.
        miou: Mean IoU over the classes in truth and prediction of this image, 0..1.
        panels: (H, W, 3) uint8: image, truth and prediction side by side.
    """

    name: str
    miou: float
    panels: NDArray[np.uint8]


def best_and_worst(
    segmenter: Segmenter, dataset: Dataset, *, most: int, count: int = 4
) -> tuple[list[ScoredImage], list[ScoredImage], int]:
    """Segment images and return those with the highest and the lowest mean IoU.

    Args:
        segmenter: The trained network.
        dataset: The data set to evaluate on.
        most: Number of images to examine, evenly spread over the data set.
        count: Length of each list; no image is in both.

    Returns:
        The best images, best first; the worst, worst first; the number of examined images.
    """
    scored: list[tuple[float, int]] = []
    indices = spread(len(dataset), most)
    for index in indices:
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
        len(indices),
    )


def _score(sample: Sample, predicted: NDArray[Any], label_set: LabelSet) -> float:
    counts = confusion_matrix(
        sample.labels,
        predicted,
        num_classes=label_set.num_classes,
        ignore_index=label_set.ignore_index,
    )
    return miou(counts)


def _show(segmenter: Segmenter, dataset: Dataset, index: int, score: float) -> ScoredImage:
    sample = dataset[index]
    panels = [Image.fromarray(sample.image)]
    panels += [
        overlay(sample.image, labels, dataset.label_set, alpha=0.7, legend=False)
        for labels in (sample.labels, segmenter(sample.image).labels)
    ]
    width = min(PANEL_WIDTH, panels[0].width)
    size = (width, max(1, round(panels[0].height * width / panels[0].width)))
    strip = np.full((size[1], 3 * width + 2 * GAP, 3), 255, np.uint8)
    for column, panel in enumerate(panels):
        left = column * (width + GAP)
        strip[:, left : left + width] = np.asarray(panel.resize(size, Image.Resampling.LANCZOS))
    return ScoredImage(sample.name, score, strip)
