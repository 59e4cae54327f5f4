"""Class names and entry of converted weights."""

from __future__ import annotations

import datetime
from pathlib import Path

from ...errors import WeightsError
from ...labels import LabelSet, voc_palette
from ...network_options import NetworkOptions
from ..entry import Entry
from .conversion import Conversion
from .registry import KNOWN_TRAINING


def read_class_names(path: Path) -> LabelSet:
    """Read a text file with one class name per line, class 0 first.

    Raises:
        WeightsError: If the file has no names.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise WeightsError(f"{path} is empty; write one class name per line, class 0 first")
    return _label_set(names)


def number_classes(num_classes: int) -> LabelSet:
    """Name classes whose names are not known by their number."""
    return _label_set(tuple(f"class {index}" for index in range(num_classes)))


def _label_set(names: tuple[str, ...]) -> LabelSet:
    return LabelSet(names, voc_palette(len(names)), 255 if len(names) <= 255 else None)


def make_entry(
    conversion: Conversion,
    file: Path,
    *,
    name: str,
    label_set: LabelSet | None = None,
    licence: str = "unknown",
    trained_on: tuple[str, ...] = (),
) -> Entry:
    """Make the entry of converted weights.

    Args:
        conversion: The converted weights.
        file: The file they come from.
        name: Name of the new weights.
        label_set: The classes; numbered if left out.
        licence: Licence of the weights.
        trained_on: Splits that they were trained on; those known for files of this name if empty.
    """
    return Entry(
        name=name,
        options=NetworkOptions(**conversion.options),
        label_set=label_set or number_classes(conversion.options["num_classes"]),
        preprocess=conversion.preprocess,
        crf=conversion.crf,
        licence=licence,
        notice="" if licence != "unknown" else "see the terms of those who published the weights",
        source=f"{file.name}, of {conversion.layout}",
        recipe=f"atrous convert {file.name}",
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        trained_on=trained_on or KNOWN_TRAINING.get(file.stem, ()),
    )
