"""Write the report of a run as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import load_dataset
from ..html_page import bar, class_label, figure, table, write_html
from ..labels import Colour, LabelSet, voc_palette
from ..predict import Segmenter
from ..visualize import percent
from . import charts
from .charts import line_chart
from .images import ScoredImage, best_and_worst
from .record import RunRecord, read_record

MOST_IMAGES = 120  # examined to find the best and the worst
MOST_CLASSES = 40  # in the confusion matrix
MOST_MISTAKES = 8

_STYLE = (
    charts.STYLE
    + """
.confusion { overflow-x: auto; } .confusion table { width: auto; font-size: .78rem; }
.confusion td, .confusion th { padding: .1rem .3rem; text-align: center; min-width: 1.7rem; }
.confusion td:first-child { text-align: left; white-space: nowrap; }
.wide { display: grid; gap: 1rem; margin-bottom: 1.2rem; }
pre { background: color-mix(in srgb, var(--line) 35%, transparent); padding: .8rem 1rem;
  border-radius: 6px; overflow-x: auto; font-size: .82rem; }
.facts td:first-child { white-space: nowrap; color: var(--faint); width: 8rem; }
.legend > span { white-space: nowrap; margin-right: 1rem; }
.facts td { text-align: left; overflow-wrap: anywhere; }
"""
)


def write_report(
    folder: str | PathLike[str],
    *,
    data_root: str | PathLike[str] | None = None,
    device: str = "auto",
) -> Path:
    """Write FOLDER/report.html: curves, scores per class, mistakes, and the best and worst images.

    The best and worst images need the data set: the final weights run on at most 120 images of the
    val split. Everything else is read from the folder.

    Args:
        folder: Folder of a training run, finished or not.
        data_root: Folder of the evaluated data set, if it has moved since the run.
        device: Device for the network.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: If the folder holds no run, or the data set is not where it was.
        InputError: If the log cannot be read.
        OSError: If the page cannot be written.
    """
    record = read_record(Path(folder))
    body = [f'<p class="faint">{escape(summarise(record))}</p>', _curves(record)]
    if record.evaluation:
        body += [_classes(record), _confusion(record)]
    body += [_images(record, data_root, device), _facts(record)]
    path = record.folder / "report.html"
    write_html(path, f"Training of {record.name}", [part for part in body if part], style=_STYLE)
    return path


def summarise(record: RunRecord) -> str:
    """Return the length and the scores of a run in one line."""
    steps = record.steps[-1]["iteration"] if record.steps else 0
    total = record.table.get("optimizer", {}).get("iterations", steps)
    hours = record.seconds / 3600
    text = f"{steps:,} iterations" if steps >= total else f"{steps:,} of {total:,} iterations"
    text += f" in {hours:.1f} h" if hours >= 1 else f" in {record.seconds / 60:.0f} min"
    if record.scores:
        last = record.scores[-1]
        best = max(record.scores, key=lambda line: line["miou"])
        text += f"; mean IoU {last['miou']:.3f} at the end"
        if best is not last:
            text += f", {best['miou']:.3f} at best (iteration {best['iteration']:,})"
    if record.evaluation:
        text += f", on the {record.evaluation['images']:,} images of "
        text += record.evaluation["dataset"]
    return text + "."


def _curves(record: RunRecord) -> str:
    drawn = [
        line_chart("Loss", [(s["iteration"], s["loss"]) for s in record.steps]),
        line_chart(
            "Mean IoU on val", [(s["iteration"], s["miou"]) for s in record.scores], is_marked=True
        ),
        line_chart(
            "Learning rate of the backbone",
            [(s["iteration"], s["learning_rate"]) for s in record.steps if "learning_rate" in s],
        ),
        line_chart(
            "Seconds per iteration",
            [
                (s["iteration"], s["seconds_per_iteration"])
                for s in record.steps
                if "seconds_per_iteration" in s
            ],
        ),
    ]
    return f'<h2>Curves over iterations</h2><div class="charts">{"".join(drawn)}</div>'


def _palette(record: RunRecord, count: int) -> Sequence[Colour]:
    return voc_palette(count) if record.entry is None else record.entry.label_set.palette


def _classes(record: RunRecord) -> str:
    scores, boundary = record.evaluation["iou"], record.evaluation.get("boundary_iou", {})
    counts = np.array(record.evaluation["confusion"], np.float64)
    truth = counts.sum(1) / max(1.0, counts.sum())
    palette = _palette(record, len(scores))
    rows = [
        [
            class_label(index, name, palette[index]),
            _score(value),
            bar(value or 0.0),
            _score(boundary.get(name)),
            percent(truth[index]) if truth[index] else "–",
        ]
        for index, (name, value) in enumerate(scores.items())
    ]
    head = ("class", "IoU", "", "boundary IoU", "share of known pixels")
    return f"<h2>Classes</h2>{table(head, rows, bars=[2])}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _confusion(record: RunRecord) -> str:
    counts = np.array(record.evaluation["confusion"], np.float64)
    names = list(record.evaluation["iou"])
    palette = _palette(record, len(names))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    kept = np.sort(np.argsort(-counts.sum(1), kind="stable")[:MOST_CLASSES])
    rows = [
        [class_label(i, names[i], palette[i]), *(_cell(shares[i, j]) for j in kept)]
        for i in kept
        if counts[i].sum()
    ]
    head = ["true class (rows), predicted class in %", *(str(i) for i in kept)]
    left_out = len(names) - len(kept)
    note = f'<p class="faint">The {left_out} rarest classes are left out.</p>' if left_out else ""
    return (
        f'<h2>Confusion</h2>{_mistakes(shares, names)}<div class="confusion">{table(head, rows)}'
        f"</div>{note}"
    )


def _cell(share: float) -> str:
    if share < 0.005:
        return ""
    strength = round(100 * share**0.6)
    style = f"background:color-mix(in srgb, var(--bar) {strength}%, transparent)"
    return f'<div style="{style}">{100 * share:.0f}</div>'


def _mistakes(shares: NDArray[np.float64], names: Sequence[str]) -> str:
    wrong = shares.copy()
    np.fill_diagonal(wrong, 0)
    places = np.argsort(-wrong, axis=None)[:MOST_MISTAKES]
    pairs = [divmod(int(place), len(names)) for place in places]
    lines = [
        f"<li>{percent(wrong[i, j])} of {escape(names[i])} is predicted as {escape(names[j])}</li>"
        for i, j in pairs
        if wrong[i, j] >= 0.01
    ]
    return f"<p>The most frequent mistakes:</p><ul>{''.join(lines)}</ul>" if lines else ""


def _images(record: RunRecord, data_root: str | PathLike[str] | None, device: str) -> str:
    if record.weights is None or not record.recipe:
        return ""
    data = record.table["data"]
    root = data_root or data.get("val_root") or data["root"]
    name = data.get("val_dataset", data["dataset"])
    dataset = load_dataset(name, root, split=data["val_split"])
    scales = record.input_scales
    segmenter = Segmenter(record.weights, device=device, scales=tuple(scales))
    best, worst, seen = best_and_worst(segmenter, dataset, most=MOST_IMAGES)
    of = f"of {seen:,}" if seen == len(dataset) else f"of {seen:,} examined"
    return (
        f"<h2>Worst images {of}</h2>"
        '<p class="faint">Image, true labels, predicted labels.</p>'
        f"{_legend(dataset.label_set)}{_strips(worst)}<h2>Best images {of}</h2>{_strips(best)}"
    )


def _legend(label_set: LabelSet) -> str:
    if label_set.num_classes > MOST_CLASSES:
        return ""
    classes = zip(label_set.names, label_set.palette, strict=True)
    labels = [f"<span>{class_label(i, n, colour)}</span>" for i, (n, colour) in enumerate(classes)]
    return f'<p class="legend">{" ".join(labels)}</p>'


def _strips(images: Sequence[ScoredImage]) -> str:
    figures = [figure(i.panels, f"{i.name}: mean IoU {i.miou:.3f}") for i in images]
    return f'<div class="wide">{"".join(figures)}</div>'


def _facts(record: RunRecord) -> str:
    parts: list[str] = []
    if record.entry is not None and record.weights is not None:
        entry = record.entry
        metrics = "; ".join(
            f"{data}: " + ", ".join(f"{key} {value:.3f}" for key, value in scores.items())
            for data, scores in entry.metrics.items()
        )
        parts += [
            "<h2>Weights</h2>",
            _pairs(
                {
                    "file": record.weights.name,
                    "network": ", ".join(f"{k}={v}" for k, v in entry.options.items()),
                    "scores": metrics,
                    "licence": " – ".join(text for text in (entry.licence, entry.notice) if text),
                    "source": entry.source,
                    "date": entry.date,
                }
            ),
        ]
    if record.environment:
        parts += ["<h2>Environment</h2>", _pairs(record.environment)]
    if record.recipe:
        parts += ["<h2>Recipe</h2>", f"<pre>{escape(record.recipe)}</pre>"]
    return "\n".join(parts)


def _pairs(values: dict[str, Any]) -> str:
    rows = [
        f"<tr><td>{escape(k)}</td><td>{escape(str(v))}</td></tr>" for k, v in values.items() if v
    ]
    return f'<table class="facts"><tbody>{"".join(rows)}</tbody></table>'
