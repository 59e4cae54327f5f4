"""What a weight file says about itself: everything needed to use it, as one line of JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, cast

from ..labels import LabelSet
from ..preprocess import Preprocess

CRF_FIELDS = (
    "iterations",
    "spatial_weight",
    "spatial_xy_std",
    "bilateral_weight",
    "bilateral_xy_std",
    "bilateral_rgb_std",
)
# True of a copy on some server, and unknown while the file itself is being written.
PUBLICATION_FIELDS = ("url", "sha256", "size_bytes")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Weights and the way to use them.

    Attributes:
        name: What `load_model` and the command line call them.
        options: Keyword arguments of `create_model`, `scales` left out: weights serve any scales.
        label_set: The classes of the scores.
        preprocess: Normalisation and padding that the weights were trained with.
        crf: Parameters of the dense CRF published for these weights (`CRF_FIELDS`), if any.
        use_crf: Whether the CRF runs unless it is switched off.
        metrics: Fractions in 0..1, for each data set: {"camvid/val 360x480": {"miou": 0.68}}.
        licence: Of the weights, not of the code.
        notice: One line that a user must see, such as "non-commercial research only".
        source: Who trained them, where they are published.
        recipe: What reproduces them.
        trained_on: Data sets and splits whose labels the training saw, as "camvid/train"; empty
            where nobody recorded it.
        date: Of the training or conversion, year-month-day.
        url: Where the file is published; not written into the file.
        sha256: Of the published file, 64 hexadecimal digits; not written into the file.
        size_bytes: Of the published file; not written into the file.
    """

    name: str
    options: dict[str, Any]
    label_set: LabelSet
    preprocess: Preprocess
    crf: dict[str, float] | None = None
    use_crf: bool = False
    metrics: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    licence: str
    notice: str = ""
    source: str
    recipe: str = ""
    trained_on: tuple[str, ...] = ()
    date: str = ""
    url: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        _check_options(self.options, self.label_set)
        for key in ("name", "licence", "notice", "source", "recipe", "date"):
            _need(isinstance(getattr(self, key), str), key, "text", getattr(self, key))
        _need(isinstance(self.use_crf, bool), "use_crf", "true or false", self.use_crf)
        if self.crf is not None:
            _need(_is_numbers(self.crf), "crf", "a table of numbers", self.crf)
            _check_keys(self.crf, set(CRF_FIELDS), set(CRF_FIELDS), "crf of the weights entry")
        elif self.use_crf:
            raise ValueError("use_crf is true but crf holds no parameters; give both or neither")
        is_metrics = isinstance(self.metrics, dict) and all(map(_is_numbers, self.metrics.values()))
        _need(is_metrics, "metrics", "a table of numbers for each data set", self.metrics)

    def to_json(self) -> str:
        """Write the entry as one line of JSON, without url, sha256 and size_bytes."""
        data = dataclasses.asdict(self)
        for key in PUBLICATION_FIELDS:
            del data[key]
        if not self.trained_on:  # as files were before this was recorded
            del data["trained_on"]
        return json.dumps(data, ensure_ascii=False)

    @staticmethod
    def from_json(text: str) -> Entry:
        """Read what `to_json` wrote.

        Raises:
            ValueError: If it is no JSON, or fields are missing, unknown or of the wrong kind.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"the weights entry is not JSON: {error}") from error
        names = {item.name for item in dataclasses.fields(Entry)} - set(PUBLICATION_FIELDS)
        data = _check_keys(data, names - {"trained_on"}, names, "weights entry")
        options = dict(_check_keys(data["options"], {"name", "num_classes"}, None, "options"))
        if isinstance(options.get("atrous_rates"), list):
            options["atrous_rates"] = tuple(options["atrous_rates"])
        data |= {
            "trained_on": _texts(data.get("trained_on", []), "trained_on"),
            "options": options,
            "label_set": _label_set(data["label_set"]),
            "preprocess": _preprocess(data["preprocess"]),
        }
        return Entry(**data)


def _label_set(data: Any) -> LabelSet:
    keys = {"names", "palette", "ignore_index"}
    data = _check_keys(data, keys, keys, "label_set of the weights entry")
    names, palette, ignored = data["names"], data["palette"], data["ignore_index"]
    _need(_is_colours(palette), "label_set.palette", "a list of [r, g, b]", palette)
    _need(ignored is None or type(ignored) is int, "label_set.ignore_index", "a number", ignored)
    texts = _texts(names, "label_set.names")
    return LabelSet(texts, tuple((c[0], c[1], c[2]) for c in palette), ignored)


def _preprocess(data: Any) -> Preprocess:
    keys = {"channel_order", "mean", "std", "padding"}
    data = _check_keys(data, keys, keys, "preprocess of the weights entry")
    for key in ("mean", "std"):
        is_three = isinstance(data[key], list) and all(map(_is_number, data[key]))
        _need(is_three, f"preprocess.{key}", "a list of numbers", data[key])
    data |= {"mean": tuple(data["mean"]), "std": tuple(data["std"])}
    return Preprocess(**data)


def _check_options(options: Any, label_set: LabelSet) -> None:
    options = _check_keys(options, {"name", "num_classes"}, None, "options of the weights entry")
    if "scales" in options:
        raise ValueError("options of the weights entry hold scales; leave them to create_model")
    if options["num_classes"] != label_set.num_classes:
        raise ValueError(
            f"options give {options['num_classes']} classes but the label set names "
            f"{label_set.num_classes}; they must agree"
        )


def _check_keys(data: Any, needed: set[str], known: set[str] | None, where: str) -> dict[str, Any]:
    """Refuse a table with missing or unknown keys; `known=None` takes any further key."""
    if not isinstance(data, dict):
        raise ValueError(f"{where} is {type(data).__name__}; it must be a table")
    table = cast("dict[str, Any]", data)
    missing = sorted(needed - set(table))
    unknown = sorted(set(table) - known) if known is not None else []
    faults = [f"missing {', '.join(missing)}"] if missing else []
    faults += [f"unknown {', '.join(unknown)} (from a newer version?)"] if unknown else []
    if faults:
        raise ValueError(f"{where}: {'; '.join(faults)}")
    return table


def _need(is_right: bool, key: str, kind: str, value: Any) -> None:
    if not is_right:
        raise ValueError(f"{key} of the weights entry is {value!r}; it must be {kind}")


def _texts(value: Any, key: str) -> tuple[str, ...]:
    is_list = isinstance(value, list)
    is_texts = is_list and all(isinstance(item, str) for item in cast("list[Any]", value))
    _need(is_texts, key, "a list of texts", value)
    return tuple(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, cast("dict[str, Any]", value).values()))


def _is_colours(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    colours = cast("list[Any]", value)
    return all(isinstance(c, list) and len(cast("list[Any]", c)) == 3 for c in colours)
