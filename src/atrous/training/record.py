"""What a run leaves beside its weights, for its report and for those who ask later."""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..data import Dataset
from ..evaluation import Report
from ..report.record import ENVIRONMENT, EVALUATION, RECIPE
from ..weights.catalog import Entry
from .build import make_preprocess
from .config import TrainConfig


def list_files(folder: Path, train_set: Dataset, val_set: Dataset) -> None:
    """Write which images a run trains on and which it is scored on."""
    splits = {
        part: {
            "dataset": f"{dataset.name}/{dataset.split}",
            "images": [pair.name for pair in dataset.pairs],
        }
        for part, dataset in (("train", train_set), ("val", val_set))
    }
    _write(folder / "files.json", json.dumps(splits, indent=0, ensure_ascii=False) + "\n")


def leave_record(folder: Path, config: TrainConfig, report: Report, *, device: str) -> None:
    """Write the recipe as it was run, the last evaluation and the environment."""
    environment = describe_environment(device)
    for name, text in (
        (RECIPE, to_toml(config)),
        (EVALUATION, report.to_json() + "\n"),
        (ENVIRONMENT, json.dumps(environment, indent=1) + "\n"),
    ):
        _write(folder / name, text)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OSError(f"{path} could not be written ({error.strerror})") from error
    temporary.replace(path)


def describe_weights(
    config: TrainConfig,
    options: dict[str, Any],
    train_set: Dataset,
    *,
    before: tuple[str, ...],
    metrics: dict[str, dict[str, float]],
) -> Entry:
    """Describe a run's weights; `before` names what its first weights were trained on."""
    trained_on = f"{train_set.name}/{train_set.split}"
    return Entry(
        name=config.name,
        options=options,
        label_set=train_set.label_set,
        preprocess=make_preprocess(config),
        crf=None,
        use_crf=False,
        metrics=metrics,
        licence=config.output.licence,
        notice=config.output.notice,
        source=config.output.source,
        recipe=config.name,
        trained_on=tuple(dict.fromkeys((*before, trained_on))),
        date=datetime.date.today().isoformat(),
        url=None,
        sha256=None,
        size_bytes=None,
    )


def name_scores(report: Report, scales: tuple[float, ...]) -> dict[str, dict[str, float]]:
    """Say what a report measured as the metrics of a weights entry."""
    note = f" scales {', '.join(map(str, scales))}" if len(scales) > 1 else ""
    return {
        report.dataset + note: {
            "miou": round(report.miou, 5),
            "pixel_accuracy": round(report.pixel_accuracy, 5),
            "class_accuracy": round(report.class_accuracy, 5),
        }
    }


def describe_environment(device: str) -> dict[str, Any]:
    """Name what a run's speed and last digits depend on."""
    is_cuda = torch.device(device).type == "cuda"
    return {
        "atrous": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if is_cuda else device,
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
    }


def to_toml(config: TrainConfig) -> str:
    """Write a recipe as TOML, defaults included; keys without a value are left out."""
    lines: list[str] = []
    tables: list[str] = []
    for key, value in dataclasses.asdict(config).items():
        if isinstance(value, dict):
            tables += ["", f"[{key}]", *_assignments(value)]
        else:
            lines += _assignments({key: value})
    return "\n".join([*lines, *tables]) + "\n"


def _assignments(values: dict[str, Any]) -> list[str]:
    # TOML's strings, numbers, lists and booleans are JSON's, but for a surrogate in \u escapes.
    return [
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
        if value is not None
    ]
