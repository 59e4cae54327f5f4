"""What a run says while it goes: JSON lines for machines, one line at a time for people."""

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
    """Where a run stands after a step.

    Attributes:
        iteration: Steps done.
        total: Steps in all.
        loss: Of the last step.
        seconds: A step takes, lately.
        data_wait: Share of them in which the step waited for data.
    """

    iteration: int
    total: int
    loss: float
    seconds: float
    data_wait: float

    @property
    def left_s(self) -> float:
        """Seconds until the last step, evaluations left out."""
        return self.seconds * (self.total - self.iteration)


class RunLog:
    """Appends to RUN/log.jsonl and prints."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path = path
        self.say = say
        self.also: Callable[[int, dict[str, Any]], None] | None = None  # receives every line

    def rewind(self, iteration: int, *, is_unscored: bool) -> None:
        """Drop what a killed run logged after the checkpoint of this iteration.

        With `is_unscored` this iteration's scores too, which come after its checkpoint.
        """
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the line that the kill cut short
                continue
            is_later = is_unscored and entry["iteration"] == iteration and "miou" in entry
            if entry["iteration"] <= iteration and not is_later:
                kept.append(line)
        write_text(self.path, "".join(f"{line}\n" for line in kept))

    def write(self, iteration: int, text: str, **values: Any) -> None:
        """Log values of an iteration; `text` is what is printed.

        Raises:
            OSError: If the disk is full.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"iteration": iteration, **values}) + "\n")
        except OSError as error:
            raise OSError(f"{self.path} could not be written ({error.strerror})") from error
        self.say(text)
        if self.also is not None:
            self.also(iteration, values)

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
    """Seconds as people read them: 95 -> '1 min 35 s'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
