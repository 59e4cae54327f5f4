"""The tables of `atrous evaluate` and `atrous tune-crf`, as rows of text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .evaluation import Report
from .tune_crf import BAND_PX, Tuning

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table as text: the first column holds names, the others hold numbers."""

    title: str
    """Printed above the table."""
    columns: Row
    """Heading of each column; a newline may break it."""
    sections: tuple[tuple[Row, ...], ...]
    """Rows, in groups between which a line is drawn. A row may have fewer cells than columns."""
    caption: str = ""
    """Printed below the table."""


def describe_data(report: Report) -> str:
    """Name the data set, split and number of images."""
    return f"{report.dataset}, {report.images} images"


def class_table(report: Report) -> Table:
    """One row per class, then the means, then the bands around boundaries."""
    scores = zip(report.label_set.names, report.iou, report.boundary_iou, strict=True)
    return Table(
        describe_data(report),
        ("class", "IoU", "boundary IoU"),
        (
            tuple((name, _score(iou), _score(boundary)) for name, iou, boundary in scores),
            (
                ("mean IoU", _score(report.miou), _score(report.mean_boundary_iou)),
                ("pixel accuracy", _score(report.pixel_accuracy)),
                ("class accuracy", _score(report.class_accuracy)),
                ("frequency-weighted IoU", _score(report.frequency_weighted_iou)),
            ),
            tuple(
                (f"mean IoU within {band} px of a boundary", _score(value))
                for band, value in report.trimap.items()
            ),
        ),
    )


def variant_table(reports: Mapping[str, Report]) -> Table:
    """One row per variant, one column per score."""
    scores = ("mean\nIoU", "pixel\nacc.", "class\nacc.", "freq.\nIoU", "bound.\nIoU")
    rows = tuple(
        (
            name,
            _score(report.miou),
            _score(report.pixel_accuracy),
            _score(report.class_accuracy),
            _score(report.frequency_weighted_iou),
            _score(report.mean_boundary_iou),
            _score(report.trimap[3]),
        )
        for name, report in reports.items()
    )
    title = describe_data(next(iter(reports.values())))
    return Table(title, ("variant", *scores, "within\n3 px"), (rows,))


def class_table_of_variants(reports: Mapping[str, Report]) -> Table:
    """One row per class and band, one column per variant."""
    first = next(iter(reports.values()))
    classes = tuple(
        (name, *(_score(report.iou[row]) for report in reports.values()))
        for row, name in enumerate(first.label_set.names)
    )
    bands = tuple(
        (f"{band} px", *(_score(report.trimap[band]) for report in reports.values()))
        for band in first.trimap
    )
    return Table(
        "IoU of each class; mean IoU within 1-40 px of a boundary",
        ("", *(name.replace("+", "+\n") for name in reports)),
        (classes, bands),
    )


def gain_table(tuning: Tuning) -> Table:
    """Mean IoU without and with the CRF, and the interval of the gain."""
    rows = tuple(
        (
            name,
            f"{gain.before:.4f}",
            f"{gain.after:.4f}",
            f"{gain.gain:+.4f}",
            f"{gain.low:+.4f} to {gain.high:+.4f}",
        )
        for name, gain in (("whole images", tuning.miou), (f"within {BAND_PX} px", tuning.trimap))
    )
    return Table(
        f"{tuning.dataset}, {len(tuning.reported)} images that the search did not use",
        ("mean IoU", "without CRF", "with CRF", "gain", "95 % interval"),
        (rows,),
        f"95 % intervals of {tuning.miou.resamples} resamples of the images",
    )


def _score(value: float) -> str:
    return "absent" if value != value else f"{value:.3f}"
