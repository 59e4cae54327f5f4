"""Score a segmenter on a data set."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from .data import Dataset
from .labels import LabelSet
from .metrics import class_accuracy, confusion_matrix, miou, per_class_iou, pixel_accuracy
from .metrics.confusion import Counts, Floats
from .predict import Segmenter


@dataclass(frozen=True)
class Report:
    """Scores of one way to run a network on one data set; fractions in 0..1.

    Attributes:
        dataset: Name and split, e.g. `camvid/val`.
        label_set: The classes.
        confusion: (K, K) pixels by true (rows) and predicted (columns) class.
        images: Number of images.
    """

    dataset: str
    label_set: LabelSet
    confusion: Counts
    images: int

    @property
    def iou(self) -> Floats:
        """(K,) IoU of each class; NaN where it is in neither truth nor prediction."""
        return per_class_iou(self.confusion)

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that occur."""
        return miou(self.confusion)

    @property
    def pixel_accuracy(self) -> float:
        """Share of known pixels with the right class."""
        return pixel_accuracy(self.confusion)

    @property
    def class_accuracy(self) -> float:
        """Mean share of each class's pixels found."""
        return class_accuracy(self.confusion)

    def to_json(self) -> str:
        """Everything as JSON; NaN becomes null."""
        iou = {
            name: None if np.isnan(value) else round(float(value), 6)
            for name, value in zip(self.label_set.names, self.iou, strict=True)
        }
        return json.dumps(
            {
                "dataset": self.dataset,
                "images": self.images,
                "miou": self.miou,
                "pixel_accuracy": self.pixel_accuracy,
                "class_accuracy": self.class_accuracy,
                "iou": iou,
                "confusion": self.confusion.tolist(),
            },
            indent=1,
        )


Progress = Callable[[int, int], None]


@overload
def evaluate(
    segmenter: Segmenter, dataset: Dataset, *, progress: Progress | None = None
) -> Report: ...


@overload
def evaluate(
    segmenter: Segmenter,
    dataset: Dataset,
    *,
    variants: Mapping[str, Mapping[str, Any]],
    progress: Progress | None = None,
) -> dict[str, Report]: ...


def evaluate(
    segmenter: Segmenter,
    dataset: Dataset,
    *,
    variants: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress | None = None,
) -> Report | dict[str, Report]:
    """Label every image of a data set and compare.

    Args:
        segmenter: Network and options.
        dataset: Images with labels; its classes must be the network's.
        variants: Name -> `Segmenter` options that replace the segmenter's own (`scales`, `flip`,
            `crf`); all are scored from one reading of the data.
        progress: Called with (images done, images in all) after each image.

    Returns:
        A report, or with `variants` one a name.

    Raises:
        ValueError: If classes differ, the data set is empty, or an option is unknown.
    """
    _check(segmenter, dataset)
    ways = (
        {"": segmenter}
        if variants is None
        else {name: segmenter.with_options(**options) for name, options in variants.items()}
    )
    classes = dataset.label_set.num_classes
    counts = {name: np.zeros((classes, classes), np.int64) for name in ways}
    for done, sample in enumerate(dataset, start=1):
        for name, way in ways.items():
            counts[name] += confusion_matrix(
                sample.labels,
                way(sample.image).labels,
                num_classes=classes,
                ignore_index=dataset.label_set.ignore_index,
            )
        if progress is not None:
            progress(done, len(dataset))
    title = f"{dataset.name}/{dataset.split}"
    reports = {
        name: Report(title, dataset.label_set, confusion, len(dataset))
        for name, confusion in counts.items()
    }
    return reports[""] if variants is None else reports


def _check(segmenter: Segmenter, dataset: Dataset) -> None:
    if not len(dataset):
        raise ValueError(
            f"{dataset.name}/{dataset.split} holds no images; there is nothing to score"
        )
    ours, theirs = segmenter.entry.label_set.names, dataset.label_set.names
    if ours != theirs:
        raise ValueError(
            f"the network's {len(ours)} classes ({', '.join(ours[:4])}, …) are not the "
            f"{len(theirs)} of {dataset.name} ({', '.join(theirs[:4])}, …); use weights that were "
            "trained on its classes"
        )
