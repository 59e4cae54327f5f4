"""Score a segmenter on a data set."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from .data import Dataset, shared_splits
from .errors import InputError
from .labels import LabelSet
from .metrics import (
    TRIMAP_BANDS_PX,
    boundary_counts,
    class_accuracy,
    confusion_matrix,
    frequency_weighted_iou,
    miou,
    per_class_iou,
    pixel_accuracy,
    trimap_confusions,
)
from .metrics.confusion import Counts, Floats
from .predict import Segmenter
from .suggestions import did_you_mean
from .tables import to_table
from .weights import Entry

MULTI_SCALE = (1.0, 0.75, 0.5)
WORDS = ("msc", "flip", "crf")  # that names of variants are made of
ALL_VARIANTS = "single,flip,msc,msc+flip,crf,flip+crf,msc+crf,msc+flip+crf"


@dataclass(frozen=True)
class Report:
    """Scores of one variant of a network on one data set; fractions in 0..1.

    Attributes:
        dataset: Name and split, e.g. `camvid/val`.
        label_set: The classes.
        confusion: (K, K) pixels by true (rows) and predicted (columns) class.
        images: Number of images.
        trimap_confusions: (B, K, K) the same in bands around true boundaries.
        boundary: (2, K) intersections and unions of the classes' boundaries.
    """

    dataset: str
    label_set: LabelSet
    confusion: Counts
    images: int
    trimap_confusions: Counts
    boundary: Counts

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

    @property
    def frequency_weighted_iou(self) -> float:
        """IoU of each class weighted by its share of the truth."""
        return frequency_weighted_iou(self.confusion)

    @property
    def trimap(self) -> dict[int, float]:
        """Width of the band around true boundaries in pixels -> mean IoU inside it."""
        return dict(zip(TRIMAP_BANDS_PX, map(miou, self.trimap_confusions), strict=True))

    @property
    def boundary_iou(self) -> Floats:
        """(K,) boundary IoU of each class; NaN where neither truth nor prediction has it."""
        hits, unions = self.boundary.astype(np.float64)
        return np.divide(hits, unions, out=np.full(hits.shape, np.nan), where=unions > 0)

    @property
    def mean_boundary_iou(self) -> float:
        """Mean of `boundary_iou` over the classes that occur."""
        known = self.boundary_iou[~np.isnan(self.boundary_iou)]
        return float(known.mean()) if known.size else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values; NaN becomes None."""
        return {
            "dataset": self.dataset,
            "images": self.images,
            "miou": _known(self.miou),
            "pixel_accuracy": _known(self.pixel_accuracy),
            "class_accuracy": _known(self.class_accuracy),
            "frequency_weighted_iou": _known(self.frequency_weighted_iou),
            "mean_boundary_iou": _known(self.mean_boundary_iou),
            "iou": self._by_class(self.iou),
            "boundary_iou": self._by_class(self.boundary_iou),
            "trimap": {band: _or_none(value) for band, value in self.trimap.items()},
            "confusion": self.confusion.tolist(),
        }

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=1)

    def _by_class(self, values: Floats) -> dict[str, float | None]:
        return {n: _or_none(v) for n, v in zip(self.label_set.names, values, strict=True)}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _or_none(value: float) -> float | None:
    known = _known(value)
    return None if known is None else round(known, 6)


class LeakWarning(UserWarning):
    """The weights were trained on images that they are scored on."""


def describe_leak(entry: Entry, dataset: Dataset) -> str | None:
    """Say in a line that weights were trained on the images of a split, or None where not known."""
    split = f"{dataset.name}/{dataset.split}"
    shared = shared_splits(entry.trained_on, split)
    if not shared:
        return None
    is_anyones = dataset.name == "folder"
    which = "if that was this folder, it holds" if is_anyones else "which holds"
    return (
        f"{entry.name} was trained on {' and '.join(shared)}, {which} images of {split}: "
        "its scores there are too high to compare with anything"
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
            `crf`); all are scored from one reading of the data, and the network runs once for
            each image, set of scales and mirror image.
        progress: Called with (images done, number of images) after each image.

    Returns:
        A report, or with `variants` one per name.

    Raises:
        InputError: If classes differ, the data set is empty, or an option is unknown.

    Warns:
        LeakWarning: If the weights were trained on images of the data set.
    """
    if not len(dataset):
        raise InputError(
            f"{dataset.name}/{dataset.split} holds no images; there is nothing to score"
        )
    check_classes(segmenter, dataset.label_set, dataset.name)
    if leak := describe_leak(segmenter.entry, dataset):
        warnings.warn(leak, LeakWarning, stacklevel=2)
    segmenters = (
        {"": segmenter}
        if variants is None
        else {name: segmenter.with_options(**options) for name, options in variants.items()}
    )
    classes = dataset.label_set.num_classes
    kinds = (confusion_matrix, trimap_confusions, boundary_counts)
    counts: dict[str, list[Any]] = {name: [0] * len(kinds) for name in segmenters}
    for done, sample in enumerate(dataset, start=1):
        for name, result in segmenter.segment_variants(sample.image, segmenters).items():
            for index, count in enumerate(kinds):
                counts[name][index] += count(
                    sample.labels,
                    result.labels,
                    num_classes=classes,
                    ignore_index=dataset.label_set.ignore_index,
                )
        if progress is not None:
            progress(done, len(dataset))
    title = f"{dataset.name}/{dataset.split}"
    reports = {
        name: Report(title, dataset.label_set, confusion, len(dataset), bands, boundary)
        for name, (confusion, bands, boundary) in counts.items()
    }
    return reports[""] if variants is None else reports


def check_classes(segmenter: Segmenter, label_set: LabelSet, name: str) -> None:
    """Refuse a data set, called `name`, of other classes than the network's."""
    ours, theirs = segmenter.entry.label_set.names, label_set.names
    if ours != theirs:
        raise InputError(
            f"the network's {len(ours)} classes ({', '.join(ours[:4])}, …) are not the "
            f"{len(theirs)} of {name} ({', '.join(theirs[:4])}, …); use weights that were trained "
            "on its classes"
        )


def parse_variants(
    text: str, *, scales: tuple[float, ...] | None = None
) -> dict[str, dict[str, Any]]:
    """Turn names such as "single,msc+flip" into options of `Segmenter`.

    Args:
        text: Names between commas: `single`, or `msc`, `flip` and `crf` joined by `+`. `all` is
            every combination.
        scales: The scales of `msc`; 1, 0.75 and 0.5 by default.

    Returns:
        Name -> options, as `evaluate` takes them.

    Raises:
        InputError: If a name is unknown.
    """
    names = [name.strip() for name in text.replace("all", ALL_VARIANTS).split(",")]
    return {name: _parse_variant(name, scales or MULTI_SCALE) for name in names}


def _parse_variant(name: str, scales: tuple[float, ...]) -> dict[str, Any]:
    words = [] if name == "single" else name.split("+")
    for word in words:
        if word == "single":
            raise InputError(f"`single` in {name!r} cannot be combined with others")
        if word not in WORDS:
            raise InputError(
                f"{word!r} in {name!r} is unknown{did_you_mean(word, ('single', *WORDS))}"
            )
    return {
        "scales": scales if "msc" in words else (1.0,),
        "flip": "flip" in words,
        "crf": "crf" in words,
    }


def to_json(
    segmenter: Segmenter,
    reports: Mapping[str, Report],
    variants: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """Give reports as plain values, with the weights and the options of each.

    Args:
        segmenter: The segmenter that was scored.
        reports: Name -> report; without variants, the one report has the name "".
        variants: What `evaluate` was given.
    """
    head = {"weights": segmenter.entry.name}
    if variants is None:
        return head | _options(segmenter) | reports[""].to_dict()
    scored = {
        name: _options(segmenter.with_options(**variants[name])) | report.to_dict()
        for name, report in reports.items()
    }
    return head | {"variants": scored}


def _options(segmenter: Segmenter) -> dict[str, Any]:
    crf = None if segmenter.crf is None else to_table(segmenter.crf.params)
    return {"scales": segmenter.scales, "flip": segmenter.flip, "crf": crf}
