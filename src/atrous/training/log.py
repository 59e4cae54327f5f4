"""The log of a run: JSON lines in a file, and a line of text for the user."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic_file import write_text
from ..evaluation import Report


@dataclass(frozen=True)
class Progress:
    """The state of a run after a step.

    Attributes:
        iteration: Number of steps taken.
        total: Number of steps of the run.
        loss: Loss of the last step.
        seconds: Mean seconds per step since the last log line.
        data_wait: Share of this time in which steps waited for data.
    """

    iteration: int
    total: int
    loss: float
    seconds: float
    data_wait: float

    @property
    def left_s(self) -> float:
        """Estimated seconds until the last step, without evaluations."""
        return self.seconds * (self.total - self.iteration)


class RunLog:
    """Appends to RUN/log.jsonl and prints.

    Attributes:
        listener: Called with the iteration and values of every line; None calls nothing.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path = path
        self.say = say
        self.listener: Callable[[int, dict[str, Any]], None] | None = None

    def rewind(self, iteration: int, *, drop_scores: bool) -> None:
        """Remove the lines that a killed run wrote after the checkpoint of this iteration.

        Args:
            iteration: The checkpoint's iteration.
            drop_scores: Remove the scores of this iteration too: the evaluation follows the
                checkpoint and is repeated.
        """
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the line that was being written at the kill
                continue
            is_later = drop_scores and entry["iteration"] == iteration and "miou" in entry
            if entry["iteration"] <= iteration and not is_later:
                kept.append(line)
        write_text(self.path, "".join(f"{line}\n" for line in kept))

    def write(self, iteration: int, text: str, **values: Any) -> None:
        """Append values of an iteration to the log file, and print a text.

        Raises:
            OSError: If the disk is full.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"iteration": iteration, **values}) + "\n")
        except OSError as error:
            raise OSError(f"{self.path} could not be written ({error.strerror})") from error
        self.say(text)
        if self.listener is not None:
            self.listener(iteration, values)

    def write_report(self, iteration: int, report: Report, *, output_stride: int) -> None:
        """Log the scores of an evaluation.

        Raises:
            OSError: If the disk is full.
        """
        iou = dict(zip(report.label_set.names, report.iou.round(4).tolist(), strict=True))
        self.write(
            iteration,
            f"{report.dataset}: mIoU {report.miou:.4f}  "
            + "  ".join(f"{name} {value:.2f}" for name, value in iou.items()),
            miou=round(report.miou, 5),
            pixel_accuracy=round(report.pixel_accuracy, 5),
            class_accuracy=round(report.class_accuracy, 5),
            iou={name: None if math.isnan(value) else value for name, value in iou.items()},
            output_stride=output_stride,
        )


def format_duration(seconds: float) -> str:
    """Format seconds for people: 95 -> '1 min 35 s'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
