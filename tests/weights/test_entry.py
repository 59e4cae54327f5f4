"""Entries travel through JSON unchanged, and malformed ones say what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atrous.crf import CRFParams
from atrous.labels import LabelSet, voc_palette
from atrous.network_options import NetworkOptions
from atrous.preprocess import Preprocess
from atrous.tables import to_table
from atrous.weights import Entry

MakeEntry = Callable[..., Entry]

CRF = CRFParams(bilateral_weight=6.5, bilateral_xy_std=10)


def test_json_keeps_every_field(make_entry: MakeEntry) -> None:
    entry = make_entry(
        options=NetworkOptions("deeplabv2_resnet50", 3, atrous_rates=(6, 12), stride_in_1x1=False),
        preprocess=Preprocess("rgb", (1.5, 2, 3), (4, 5, 6), "mean_to_8k1"),
        crf=CRF,
        use_crf=True,
        metrics={"camvid/val 360x480": {"miou": 0.68, "pixel_accuracy": 0.93}},
        notice="for research only",
        recipe="recipes/street_lite.toml",
        date="2024-05-06",
    )
    assert Entry.from_json(entry.to_json()) == entry


def test_json_leaves_the_place_of_publication_out(make_entry: MakeEntry) -> None:
    entry = make_entry(url="https://example.org/a.safetensors", sha256="0" * 64, size_bytes=5)
    assert not {"url", "sha256", "size_bytes"} & set(json.loads(entry.to_json()))


def test_classes_beyond_8_bits_and_other_letters_survive(make_entry: MakeEntry) -> None:
    names = tuple(f"Straße {i}" for i in range(300))
    entry = make_entry(
        options=NetworkOptions("deeplabv2_resnet18", 300),
        label_set=LabelSet(names, voc_palette(300), None),
    )
    assert Entry.from_json(entry.to_json()) == entry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": None}, "licence is None; it must be of type str"),
        ({"colour": "red"}, "unknown key 'colour'.* newer version of atrous wrote it, update"),
        ({"sha256": 5}, "sha256 is 5; it must be of type str"),
        ({"options": []}, "options is .*; it must be a table"),
        ({"options": {"name": "x"}}, "options give None classes"),
        ({"options": {"name": "x", "num_classes": 4}}, "4 classes but the label set names 3"),
        ({"options": {"name": "x", "num_classes": 3, "scales": [1]}}, "'options.scales'"),
        ({"label_set": {"names": ["a"]}}, "the key 'label_set.palette' is missing"),
        (
            {"label_set": {"names": "abc", "palette": [], "ignore_index": 1}},
            "names is 'abc'; it must be a list",
        ),
        (
            {"label_set": {"names": ["a"], "palette": [5], "ignore_index": 1}},
            "palette is 5; it must be a list",
        ),
        ({"preprocess": {"mean": [1, 2, 3]}}, "the key 'preprocess.channel_order' is missing"),
        ({"crf": {"iterations": 5}}, "the key 'crf.spatial_weight' is missing"),
        ({"crf": {**to_table(CRF), "iterations": "5"}}, "crf.iterations is '5'; it must be of"),
        ({"crf": {**to_table(CRF), "spatial_xy_std": 0}}, "spatial_xy_std is 0"),
        ({"use_crf": True}, "use_crf is true but crf holds no parameters"),
        ({"use_crf": "no"}, "use_crf is 'no'; it must be of type bool"),
        ({"metrics": {"camvid": 0.7}}, "metrics.camvid is 0.7; it must be a table"),
        ({"trained_on": "camvid/train"}, "trained_on is 'camvid/train'; it must be a list"),
    ],
)
def test_malformed_fields_are_named(
    make_entry: MakeEntry, change: dict[str, Any], message: str
) -> None:
    data = {**json.loads(make_entry().to_json()), **change}
    with pytest.raises(ValueError, match=message):
        Entry.from_json(json.dumps(data))


def test_malformed_preprocess_is_named(make_entry: MakeEntry) -> None:
    data = json.loads(make_entry().to_json())
    data["preprocess"]["mean"] = ["x", 1, 2]
    with pytest.raises(ValueError, match=r"preprocess.mean is 'x'; it must be of type float"):
        Entry.from_json(json.dumps(data))
    data["preprocess"] |= {"mean": [1, 2, 3], "channel_order": "gbr"}
    with pytest.raises(ValueError, match="it must be 'rgb' or 'bgr'"):
        Entry.from_json(json.dumps(data))


def test_missing_fields_are_named(make_entry: MakeEntry) -> None:
    data = json.loads(make_entry().to_json())
    del data["licence"], data["source"]
    with pytest.raises(ValueError, match="the key 'licence' is missing"):
        Entry.from_json(json.dumps(data))


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[1]", "it must be a table")])
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Entry.from_json(text)


def test_files_without_a_training_split_load(make_entry: MakeEntry) -> None:
    table = json.loads(make_entry(trained_on=("voc2012/trainval", "camvid/train")).to_json())
    assert Entry.from_json(json.dumps(table)).trained_on == ("voc2012/trainval", "camvid/train")
    del table["trained_on"]
    assert Entry.from_json(json.dumps(table)).trained_on == ()


def test_version_0_1_wrote_this_entry() -> None:
    """The text lies in street-lite.safetensors of version 0.1, shortened by metrics."""
    text = (Path(__file__).parents[1] / "golden" / "entry_0_1.json").read_text(encoding="utf-8")
    entry = Entry.from_json(text)
    assert entry.options == NetworkOptions("deeplabv2_efficientnet_lite0", 11, "aspp_s")
    assert entry.preprocess == Preprocess("rgb", (127.0,) * 3, (128.0,) * 3)
    assert entry.crf == CRFParams(bilateral_weight=6.5, bilateral_xy_std=10)
    assert entry.use_crf
    assert entry.label_set.names[:3] == ("sky", "building", "pole")
    assert entry.trained_on == ("camvid/train",)
