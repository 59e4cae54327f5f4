"""The one codec between dataclasses and tables of plain values.

It serves recipes (TOML), weights entries (JSON), checkpoints, `--set` and the options of the
command line. A table is a dict of strings, numbers, booleans, None, lists and tables. Reading
checks names and types against the dataclass; the dataclass checks values in `__post_init__`.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from .errors import InputError
from .suggestions import did_you_mean

Class = TypeVar("Class")


def from_table(kind: type[Class], table: object, *, where: str = "") -> Class:
    """Build a dataclass from a table.

    Args:
        kind: The dataclass. Fields with a default may be missing from the table.
        table: Names and plain values; lists become tuples, whole numbers become floats where the
            field is one.
        where: Dotted name of the table, for errors; empty at the top.

    Raises:
        InputError: If it is not a table, a key is unknown (the similar keys are named) or missing,
            or a value has the wrong type.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{where or 'the table'} is {table!r}; it must be a table")
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    for key in table:
        if key not in hints:
            raise InputError(f"unknown key {prefix + str(key)!r}{did_you_mean(key, hints)}")
    for field in dataclasses.fields(typing.cast(Any, kind)):
        if _is_required(field) and field.name not in table:
            raise InputError(f"the key {prefix + field.name!r} is missing")
    return kind(**{key: _fit(value, hints[key], prefix + key) for key, value in table.items()})


def to_table(value: Any) -> Any:
    """Give a dataclass as a table, tuples as lists, ready for JSON, TOML or a checkpoint."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_table(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_table(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_table(item) for item in value]
    return value


def to_toml(value: Any) -> str:
    """Write a dataclass as TOML, one table per nested dataclass; None is left out.

    Nested tables go one level deep, as recipes need it.
    """
    lines: list[str] = []
    tables: list[str] = []
    for key, item in to_table(value).items():
        if isinstance(item, dict):
            tables += ["", f"[{key}]", *_assignments(item)]
        else:
            lines += _assignments({key: item})
    return "\n".join([*lines, *tables]) + "\n"


def assign(value: Class, key: str, text: str) -> Class:
    """Replace one value inside nested dataclasses.

    Args:
        value: A dataclass; a changed copy is returned.
        key: Dotted name of a field, such as `optimizer.iterations`.
        text: The new value as TOML; a bare word is a string.

    Raises:
        InputError: If the key does not exist or the value does not fit.
    """
    table = to_table(value)
    *parents, last = key.split(".")
    node = table
    for name in (*parents, last):
        if not isinstance(node, dict) or name not in node:
            known = node if isinstance(node, dict) else ()
            raise InputError(f"unknown key {key!r}{did_you_mean(name, known)}")
        if name is not last:
            node = node[name]
    node[last] = parse_value(text)
    return from_table(type(value), table)


def parse_value(text: str) -> Any:
    """Read a value as TOML has it; what is not TOML is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


@functools.cache
def field_docs(kind: type) -> dict[str, str]:
    """Read the string literal below each field of a dataclass: name -> text on one line.

    Python does not keep these strings, so the source is read; where there is none (a frozen
    program), the texts are empty.
    """
    try:
        tree = ast.parse(inspect.getsource(inspect.getmodule(kind) or kind))
    except (OSError, TypeError):
        return {}
    classes = {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
    docs: dict[str, str] = {}
    for field, text in itertools.pairwise(classes[kind.__name__]):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            docs[field.target.id] = " ".join(str(text.value.value).split())
    return docs


def field_types(kind: type) -> dict[str, Any]:
    """Give the type of each field of a dataclass, in order."""
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _fit(value: Any, kind: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return from_table(typing.cast("type[Any]", kind), value, where=where)
    if origin is types.UnionType:
        if value is None and type(None) in arguments:
            return None
        return _fit(value, next(a for a in arguments if a is not type(None)), where)
    if origin is tuple:
        return _fit_tuple(value, arguments, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"{where} is {value!r}; it must be a table")
        return {str(key): _fit(item, arguments[1], f"{where}.{key}") for key, item in value.items()}
    if origin is Literal:
        if value not in arguments:
            raise InputError(
                f"{where} is {value!r}; it must be {' or '.join(map(repr, arguments))}"
            )
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{where} is {value!r}; it must be of type {kind.__name__}")
    return value


def _fit_tuple(value: Any, kinds: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where} is {value!r}; it must be a list")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise InputError(f"{where} has {len(value)} items; it needs {len(kinds)}")
    return tuple(_fit(item, kind, where) for item, kind in zip(value, kinds, strict=True))


def _assignments(values: dict[str, Any]) -> list[str]:
    # TOML's strings, numbers, lists and booleans are JSON's, but for a surrogate in \u escapes.
    return [
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
        if value is not None
    ]
