"""Read the folder of a training run."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..weights.catalog import Entry
from ..weights.checkpoint import read_entry

LOG, RECIPE, EVALUATION, ENVIRONMENT = (
    "log.jsonl",
    "recipe.toml",
    "evaluation.json",
    "environment.json",
)


@dataclass(frozen=True)
class RunRecord:
    """The files of a run; those that an unfinished run has not written yet are empty.

    Attributes:
        folder: Folder of the run.
        steps: Log lines of steps: iteration, loss, learning_rate, seconds_per_iteration.
        scores: Log lines of evaluations: iteration, miou, iou …
        recipe: Text of the recipe.
        evaluation: The last evaluation, as `Report.to_json` writes it.
        environment: Name -> value: versions, device.
        weights: File of the final weights, if it exists.
        entry: Entry of the weights.
    """

    folder: Path
    steps: tuple[dict[str, Any], ...]
    scores: tuple[dict[str, Any], ...]
    recipe: str = ""
    evaluation: dict[str, Any] = field(default_factory=dict[str, Any])
    environment: dict[str, Any] = field(default_factory=dict[str, Any])
    weights: Path | None = None
    entry: Entry | None = None

    @property
    def table(self) -> dict[str, Any]:
        """The recipe as nested dictionaries."""
        return tomllib.loads(self.recipe)

    @property
    def name(self) -> str:
        """Name of the weights; the name of the folder if there is no recipe."""
        return str(self.table.get("name", self.folder.name))

    @property
    def input_scales(self) -> list[float]:
        """The input scales of the run; version 0.1 wrote them into [model]."""
        return self.table.get("scales") or self.table.get("model", {}).get("scales", [1.0])

    @property
    def seconds(self) -> float:
        """Time spent in the logged steps."""
        total, before = 0.0, 0
        for step in self.steps:
            total += step.get("seconds_per_iteration", 0.0) * (step["iteration"] - before)
            before = step["iteration"]
        return total


def read_record(folder: Path) -> RunRecord:
    """Read the folder of a run.

    Raises:
        FileNotFoundError: If the folder holds no log.
        InputError: If the log cannot be read.
    """
    log = folder / LOG
    if not log.is_file():
        raise FileNotFoundError(f"{log} does not exist; give the folder of a training run")
    lines = _read_log(log)
    recipe = folder / RECIPE
    text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
    name = str(tomllib.loads(text).get("name", ""))
    candidates = (folder / f"{name}.safetensors", folder / "best.safetensors")
    weights = next((path for path in candidates if path.is_file()), None)
    return RunRecord(
        folder=folder,
        steps=tuple(line for line in lines if "loss" in line),
        scores=tuple(line for line in lines if "miou" in line),
        recipe=text,
        evaluation=_read_json(folder / EVALUATION),
        environment=_read_json(folder / ENVIRONMENT),
        weights=weights,
        entry=None if weights is None else read_entry(weights),
    )


def _read_log(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    entries: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):  # a kill can cut the last line short
                raise InputError(f"{path}, line {number} is not JSON: {error}") from error
    return entries


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
