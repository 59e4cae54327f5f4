"""Entries travel through JSON unchanged, and malformed ones say what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from atrous.labels import LabelSet, voc_palette
from atrous.preprocess import Preprocess
from atrous.weights import Entry

MakeEntry = Callable[..., Entry]

CRF = {
    "iterations": 10,
    "spatial_weight": 3,
    "spatial_xy_std": 1,
    "bilateral_weight": 4,
    "bilateral_xy_std": 67,
    "bilateral_rgb_std": 3,
}


def test_json_keeps_every_field(make_entry: MakeEntry) -> None:
    entry = make_entry(
        options={
            "name": "deeplabv2_resnet50",
            "num_classes": 3,
            "head": "aspp",
            "atrous_rates": (6, 12),
        },
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
        options={"name": "deeplabv2_resnet18", "num_classes": 300},
        label_set=LabelSet(names, voc_palette(300), None),
    )
    assert Entry.from_json(entry.to_json()) == entry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": None}, "licence of the weights entry is None; it must be text"),
        ({"colour": "red"}, r"weights entry: unknown colour \(from a newer version\?\)"),
        ({"sha256": "0" * 64}, "unknown sha256"),
        ({"options": []}, "options is list; it must be a table"),
        ({"options": {"name": "x"}}, "options: missing num_classes"),
        ({"options": {"name": "x", "num_classes": 4}}, "4 classes but the label set names 3"),
        ({"options": {"name": "x", "num_classes": 3, "scales": [1]}}, "hold scales"),
        ({"label_set": {"names": ["a"]}}, "missing ignore_index, palette"),
        ({"label_set": {"names": "abc", "palette": [], "ignore_index": 1}}, "a list of texts"),
        ({"label_set": {"names": ["a"], "palette": [5], "ignore_index": 1}}, "list of .r, g, b"),
        ({"preprocess": {"mean": [1, 2, 3]}}, "missing channel_order, padding, std"),
        ({"crf": {"iterations": 5}}, "crf of the weights entry: missing bilateral_rgb_std"),
        ({"crf": {**CRF, "iterations": "5"}}, "crf of the weights entry is .* a table of numbers"),
        ({"use_crf": True}, "use_crf is true but crf holds no parameters"),
        ({"use_crf": "no"}, "use_crf of the weights entry is 'no'"),
        ({"metrics": {"camvid": 0.7}}, "a table of numbers for each data set"),
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
    with pytest.raises(ValueError, match=r"preprocess.mean of the weights entry"):
        Entry.from_json(json.dumps(data))
    data["preprocess"] |= {"mean": [1, 2, 3], "channel_order": "gbr"}
    with pytest.raises(ValueError, match="it must be 'rgb' or 'bgr'"):
        Entry.from_json(json.dumps(data))


def test_missing_fields_are_named(make_entry: MakeEntry) -> None:
    data = json.loads(make_entry().to_json())
    del data["licence"], data["source"]
    with pytest.raises(ValueError, match="weights entry: missing licence, source"):
        Entry.from_json(json.dumps(data))


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[1]", "it must be a table")])
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Entry.from_json(text)


def test_files_that_do_not_know_the_training_split_still_load(
    make_entry: MakeEntry,
) -> None:
    old = make_entry()
    assert "trained_on" not in json.loads(old.to_json())
    assert Entry.from_json(old.to_json()).trained_on == ()
    new = make_entry(trained_on=("voc2012/trainval", "camvid/train"))
    assert Entry.from_json(new.to_json()).trained_on == ("voc2012/trainval", "camvid/train")


def test_a_training_split_that_is_no_list_of_texts_is_refused(make_entry: MakeEntry) -> None:
    data = {**json.loads(make_entry().to_json()), "trained_on": "camvid/train"}
    with pytest.raises(ValueError, match="trained_on of the weights entry is 'camvid/train'"):
        Entry.from_json(json.dumps(data))
