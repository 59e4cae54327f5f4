"""The entry of a weights file: everything needed to use the weights, as one line of JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from ..crf import CRFParams
from ..errors import InputError, WeightsError
from ..labels import LabelSet
from ..network_options import NetworkOptions
from ..preprocess import Preprocess
from ..tables import from_table, to_table

# Properties of a published copy; unknown while the file itself is written.
PUBLICATION_FIELDS = ("url", "sha256", "size_bytes")
# In these tables a missing value would silently become the default of another network.
COMPLETE_TABLES = {"label_set": LabelSet, "preprocess": Preprocess, "crf": CRFParams}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a weights file says about its weights.

    Raises:
        WeightsError: If the number of classes differs between `options` and `label_set`, or
            `use_crf` is set without `crf`.
    """

    name: str
    """The name that `load_model` and the command line use."""
    options: NetworkOptions
    """The network; input scales are not part of it."""
    label_set: LabelSet
    """The classes of the scores."""
    preprocess: Preprocess
    """Normalisation and padding that the weights were trained with."""
    crf: CRFParams | None = None
    """Parameters of the dense CRF published for these weights, if any."""
    use_crf: bool = False
    """Whether the CRF runs by default."""
    metrics: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """Fractions in 0..1 per data set: {"camvid/val 360x480": {"miou": 0.68}}."""
    licence: str
    """Licence of the weights, not of the code."""
    notice: str = ""
    """One line that every user must see, such as "for non-commercial research only"."""
    source: str
    """Who trained the weights, and where they are published."""
    recipe: str = ""
    """Name of the recipe, or the command, that reproduces the weights."""
    trained_on: tuple[str, ...] = ()
    """Data sets and splits whose labels were used in training, as "camvid/train"; empty if that
    was not recorded."""
    date: str = ""
    """Date of training or conversion, year-month-day."""
    url: str | None = None
    """Address of the published file; not written into the file."""
    sha256: str | None = None
    """SHA-256 of the published file, 64 hexadecimal digits; not written into the file."""
    size_bytes: int | None = None
    """Size of the published file; not written into the file."""

    def __post_init__(self) -> None:
        if self.options.num_classes != self.label_set.num_classes:
            raise WeightsError(
                f"options give {self.options.num_classes} classes but the label set names "
                f"{self.label_set.num_classes}; they must agree"
            )
        if self.use_crf and self.crf is None:
            raise WeightsError("use_crf is true but crf holds no parameters; give both or neither")

    def to_json(self) -> str:
        """Write the entry as one line of JSON, without url, sha256 and size_bytes."""
        table = to_table(self)
        for key in PUBLICATION_FIELDS:
            del table[key]
        return json.dumps(table, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Entry:
        """Read what `to_json` wrote.

        Raises:
            WeightsError: If it is not JSON, or fields are missing, unknown or of the wrong type.
        """
        try:
            table = json.loads(text)
        except json.JSONDecodeError as error:
            raise WeightsError(f"the weights entry is not JSON: {error}") from error
        try:
            _check_complete(table)
            return from_table(Entry, table)
        except InputError as error:
            raise WeightsError(
                f"the weights entry cannot be used: {error} (if a newer version of atrous wrote "
                "it, update atrous)"
            ) from error


def _check_complete(table: Any) -> None:
    for key, kind in COMPLETE_TABLES.items():
        inner = table.get(key) if isinstance(table, dict) else None
        if not isinstance(inner, dict):
            continue  # `from_table` refuses it, or it is a table that may be missing
        for item in dataclasses.fields(kind):
            if item.name not in inner:
                raise WeightsError(f"the key '{key}.{item.name}' is missing")
