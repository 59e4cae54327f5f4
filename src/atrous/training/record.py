"""Write the files that document a run: its images, recipe, evaluation and environment."""

from __future__ import annotations

import datetime
import json
import platform
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..atomic_file import write_text
from ..data import Dataset
from ..evaluation import Report
from ..models import NetworkOptions
from ..report.record import ENVIRONMENT, EVALUATION, RECIPE
from ..tables import to_toml
from ..weights.catalog import Entry
from .recipe import Recipe


def write_file_list(folder: Path, train_set: Dataset, val_set: Dataset) -> None:
    """Write files.json: the names of the images that a run trains and evaluates on."""
    splits = {
        part: {
            "dataset": f"{dataset.name}/{dataset.split}",
            "images": [pair.name for pair in dataset.pairs],
        }
        for part, dataset in (("train", train_set), ("val", val_set))
    }
    write_text(folder / "files.json", json.dumps(splits, indent=0, ensure_ascii=False) + "\n")


def write_record(folder: Path, recipe: Recipe, report: Report, *, device: str) -> None:
    """Write the recipe with all its values, the last evaluation and the environment."""
    environment = describe_environment(device)
    for name, text in (
        (RECIPE, to_toml(recipe)),
        (EVALUATION, report.to_json() + "\n"),
        (ENVIRONMENT, json.dumps(environment, indent=1) + "\n"),
    ):
        write_text(folder / name, text)


def describe_weights(
    recipe: Recipe,
    options: NetworkOptions,
    train_set: Dataset,
    *,
    init_trained_on: tuple[str, ...],
    metrics: dict[str, dict[str, float]],
) -> Entry:
    """Return the entry of a run's weights.

    Args:
        recipe: The recipe.
        options: The network's options.
        train_set: The data set that it was trained on.
        init_trained_on: Data sets that the initial weights were trained on.
        metrics: As `metrics_of` returns them.
    """
    trained_on = f"{train_set.name}/{train_set.split}"
    return Entry(
        name=recipe.name,
        options=options,
        label_set=train_set.label_set,
        preprocess=recipe.preprocess,
        crf=None,
        use_crf=False,
        metrics=metrics,
        licence=recipe.output.licence,
        notice=recipe.output.notice,
        source=recipe.output.source,
        recipe=recipe.name,
        trained_on=tuple(dict.fromkeys((*init_trained_on, trained_on))),
        date=datetime.date.today().isoformat(),
        url=None,
        sha256=None,
        size_bytes=None,
    )


def metrics_of(report: Report, scales: tuple[float, ...]) -> dict[str, dict[str, float]]:
    """Return the scores of a report as the metrics of a weights entry."""
    note = f" scales {', '.join(map(str, scales))}" if len(scales) > 1 else ""
    return {
        report.dataset + note: {
            "miou": round(report.miou, 5),
            "pixel_accuracy": round(report.pixel_accuracy, 5),
            "class_accuracy": round(report.class_accuracy, 5),
        }
    }


def describe_environment(device: str) -> dict[str, Any]:
    """Return versions and device, on which a run's speed and rounding depend."""
    is_cuda = torch.device(device).type == "cuda"
    return {
        "atrous": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if is_cuda else device,
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
    }
