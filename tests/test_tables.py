"""Dataclasses travel through tables unchanged, and misfits are named."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from atrous.errors import InputError
from atrous.tables import assign, field_docs, from_table, to_table, to_toml


@dataclass(frozen=True)
class Inner:
    """The inner table."""

    rate: float = 0.5
    """A rate, which
    spans two lines."""
    kind: Literal["a", "b"] = "a"
    pair: tuple[int, int] = (1, 2)
    """Two numbers."""


@dataclass(frozen=True)
class Outer:
    """The whole table."""

    name: str
    inner: Inner = field(default_factory=Inner)
    many: tuple[float, ...] = ()
    maybe: Inner | None = None
    scores: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    flag: bool = False
    limit: int | None = None


FULL = Outer("x", Inner(2.0, "b", (3, 4)), (1.0, 2.5), Inner(), {"d": {"m": 0.5}}, True, 7)


def test_a_table_gives_the_same_object_back() -> None:
    assert from_table(Outer, json.loads(json.dumps(to_table(FULL)))) == FULL


def test_toml_gives_the_same_object_back() -> None:
    flat = Outer("x", Inner(2.0, "b"), (1.0,), flag=True)
    assert from_table(Outer, tomllib.loads(to_toml(flat))) == flat


def test_missing_keys_take_their_defaults() -> None:
    assert from_table(Outer, {"name": "x"}) == Outer("x")


def test_whole_numbers_become_floats_and_lists_tuples() -> None:
    found = from_table(Outer, {"name": "x", "inner": {"rate": 1}, "many": [1, 2]})
    assert found == Outer("x", Inner(1.0), (1.0, 2.0))
    assert isinstance(found.inner.rate, float)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], r"the table is \[\]; it must be a table"),
        ({}, "the key 'name' is missing"),
        ({"name": "x", "iner": {}}, r"unknown key 'iner'; did you mean inner"),
        ({"name": "x", "inner": {"zzz": 1}}, "unknown key 'inner.zzz'; choose from rate, kind"),
        ({"name": "x", "inner": 3}, "inner is 3; it must be a table"),
        ({"name": "x", "inner": {"kind": "c"}}, "inner.kind is 'c'; it must be 'a' or 'b'"),
        ({"name": "x", "inner": {"pair": [1]}}, "inner.pair has 1 items; it needs 2"),
        ({"name": "x", "inner": {"pair": [1, "2"]}}, "inner.pair is '2'; it must be of type int"),
        ({"name": "x", "many": "12"}, "many is '12'; it must be a list"),
        ({"name": "x", "flag": 1}, "flag is 1; it must be of type bool"),
        ({"name": "x", "limit": True}, "limit is True; it must be of type int"),
        ({"name": "x", "scores": []}, r"scores is \[\]; it must be a table"),
        ({"name": "x", "scores": {"d": {"m": "1"}}}, "scores.d.m is '1'; it must be of type float"),
        ({"name": None}, "name is None; it must be of type str"),
    ],
)
def test_misfits_are_named(table: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_table(Outer, table)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("name", "a word", Outer("a word")),
        ("inner.rate", "3", Outer("x", Inner(3.0))),
        ("many", "[1, 2]", Outer("x", many=(1.0, 2.0))),
        ("flag", "true", Outer("x", flag=True)),
        ("limit", "5", Outer("x", limit=5)),
    ],
)
def test_assign_replaces_one_value(key: str, text: str, expected: Outer) -> None:
    assert assign(Outer("x"), key, text) == expected


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("inner.rat", r"unknown key 'inner.rat'; did you mean rate\?"),
        ("iner.rate", r"unknown key 'iner.rate'; did you mean inner"),
        ("name.rate", "unknown key 'name.rate'"),
        ("inner", "inner is 1; it must be a table"),
    ],
)
def test_assign_refuses_what_does_not_exist(key: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        assign(Outer("x"), key, "1")


def test_field_docs_are_the_strings_below_the_fields() -> None:
    assert field_docs(Inner) == {"rate": "A rate, which spans two lines.", "pair": "Two numbers."}


def test_every_stored_field_has_a_doc() -> None:
    """The recipe reference, `--help` and the documentation site are made from these."""
    import dataclasses

    from atrous.crf import CRFParams
    from atrous.training.recipe import Recipe
    from atrous.weights import Entry

    todo: list[Any] = [Recipe, Entry, CRFParams]
    seen: list[str] = []
    while todo:
        kind = todo.pop()
        docs = field_docs(kind)
        for item in dataclasses.fields(kind):
            assert docs.get(item.name), f"{kind.__name__}.{item.name} has no docstring"
            default = item.default_factory
            if isinstance(default, type) and dataclasses.is_dataclass(default):
                todo.append(default)
        seen.append(kind.__name__)
    assert {"NetworkOptions", "Preprocess", "OptimizerConfig"} <= set(seen)
