"""Messages quoted in docs/troubleshooting.md exist in the source code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "troubleshooting.md"
SOURCES = (ROOT / "src", ROOT / "crf" / "src")
VALUE = "…"  # stands for a name or number, on the page and in `source_texts`
MIN_QUOTED = 12  # characters of fixed text; fewer would match anywhere


def read_quotes() -> list[str]:
    """Return the text blocks of the page, each on one line."""
    blocks = re.findall(r"^```text\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [" ".join(block.split()) for block in blocks]


def texts_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            parts = [str(v.value) if isinstance(v, ast.Constant) else VALUE for v in node.values]
            yield "".join(parts)


@cache
def source_texts() -> tuple[str, ...]:
    """Return every string of the Python code, and of the build script as one text."""
    files = [file for folder in SOURCES for file in folder.rglob("*.py")]
    texts = [text for file in files for text in texts_in(ast.parse(file.read_text("utf-8")))]
    cmake = ROOT / "crf" / "CMakeLists.txt"
    if cmake.is_file():
        texts.append(re.sub(r'"\s+"', "", cmake.read_text("utf-8")))
    return tuple(" ".join(text.split()) for text in texts)


@pytest.mark.parametrize("quote", read_quotes())
def test_quoted_message_exists(quote: str) -> None:
    fragments = [part.strip(" ;(),") for part in quote.split(VALUE)]
    fragments = [part for part in fragments if part]
    assert len("".join(fragments)) >= MIN_QUOTED
    missing = [part for part in fragments if not any(part in text for text in source_texts())]
    assert not missing, f"not in the source code: {missing}"
