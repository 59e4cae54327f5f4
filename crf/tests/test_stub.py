"""`_native.pyi` describes the compiled kernel: its signatures are those that nanobind generates.

Allowed to differ: docstrings, the order of definitions, names for types (`Floats`), and the details
of arrays that nanobind puts in `Annotated` (shape, memory order, device). Overloads count as one
signature whose parameters take any of their types.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import atrous_crf
from atrous_crf import _native

# A parameter: its kind, its default and its types.
Signature = dict[str, tuple[str, str, frozenset[str]]]


def test_stub_has_the_signatures_that_nanobind_generates() -> None:
    reason = "needs nanobind's stubgen: pip install nanobind"
    stubgen = pytest.importorskip("nanobind.stubgen", reason=reason)
    generator = stubgen.StubGen(_native)
    generator.put(_native)
    generated = signatures(generator.get())
    written = signatures((Path(atrous_crf.__file__).parent / "_native.pyi").read_text("utf-8"))
    assert set(written) == set(generated)
    for name, signature in generated.items():
        assert written[name] == signature, name


def test_every_definition_of_the_stub_is_documented() -> None:
    tree = ast.parse((Path(atrous_crf.__file__).parent / "_native.pyi").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            has_parameters = node.name == "__init__"  # documented by their Args section
            assert ast.get_docstring(node) or has_parameters, node.name


def signatures(stub: str) -> dict[str, Signature]:
    tree = ast.parse(stub)
    aliases = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    found: dict[str, Signature] = {}
    for owner, body in [
        ("", tree.body),
        *((node.name + ".", node.body) for node in tree.body if isinstance(node, ast.ClassDef)),
    ]:
        for node in body:
            if isinstance(node, ast.FunctionDef):
                merge(found.setdefault(owner + node.name, {}), read_signature(node, aliases))
    return found


def merge(known: Signature, overload: Signature) -> None:
    for name, (kind, default, types) in overload.items():
        before = known.get(name, (kind, default, frozenset()))
        assert before[:2] == (kind, default), name
        known[name] = (kind, default, before[2] | types)


def read_signature(node: ast.FunctionDef, aliases: dict[str, ast.expr]) -> Signature:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    parameters = [
        *((a, "positional", d) for a, d in zip(positional, defaults, strict=True)),
        *((a, "keyword", d) for a, d in keywords),
    ]
    signature = {
        argument.arg: (
            f"{kind} {index}" if kind == "positional" else kind,
            ast.unparse(default) if default is not None else "",
            types_of(argument.annotation, aliases),
        )
        for index, (argument, kind, default) in enumerate(parameters)
    }
    decorators = [ast.unparse(d) for d in node.decorator_list if ast.unparse(d) != "overload"]
    return {**signature, "return": (" ".join(decorators), "", types_of(node.returns, aliases))}


def types_of(annotation: ast.expr | None, aliases: dict[str, ast.expr]) -> frozenset[str]:
    if annotation is None:
        return frozenset()
    if isinstance(annotation, ast.Name) and annotation.id in aliases:
        return types_of(aliases[annotation.id], aliases)
    if isinstance(annotation, ast.BinOp):
        return types_of(annotation.left, aliases) | types_of(annotation.right, aliases)
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
        assert isinstance(annotation.slice, ast.Tuple)
        return types_of(annotation.slice.elts[0], aliases)
    return frozenset({ast.unparse(annotation).replace("numpy.", "np.")})
