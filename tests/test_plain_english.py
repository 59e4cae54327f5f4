"""Documentation, help and docstrings avoid phrases that are nearly always wrong.

The list holds metaphors, archaic words and calques that this project once used. Add a phrase only
if ordinary technical English has no use for it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from atrous.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "NOTICE")),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "crf").glob("*.md"),
    *(ROOT / "models").glob("*.LICENSE"),
]
MODULES = [file for folder in ("src", "crf/src") for file in (ROOT / folder).rglob("*.py")]

# What is wrong -> what to write instead
BANNED = {
    r"rivers?": "pipeline",
    r"hops?": "step",
    r"doors?": "entry point",
    r"mend(s|ed|ing)?": "fix",
    r"shall": "must, will",
    r"whoever": "name the person or thing",
    r"for ever": "never ends, or exponential time",
    r"anew": "from scratch, again",
    r"at its beginning": "from scratch",
    r"(go|goes|going|went) on": "continue, resume",
    r"(go|goes) without": "cannot be combined with",
    r"gives? way": "name the action",
    r"what is there|what there (is|are)|that (is|are) there": "existing, available",
    r"the rest is done": "the others are still processed",
    r"do again": "overwrite, repeat",
    r"stands(?! for)": "is, has, exists",
    r"bears": "has",
    r"hears?|heard": "reads, receives",
    r"by turns": "alternating",
    r"by heart": "memorised",
    r"(the|a) ways? up": "upsampling",
    r"several ways|ways of running": "variants",
    r"pictures?": "image",
    r"(images|photos|pairs|samples|steps|bytes|bits|pixels|points|seconds|milliseconds|ms|s|MB"
    r"|one|thread|process|name|line|row|file|score|map|loss|curve|branch|rate|kernel|entry) an? "
    r"(second(?! time)|minute|hour|image|photo|line|pixel|core|step|GPU|scale|channel|class"
    r"|process|branch|vertex|iteration|recipe|command|data set|group|key|split|machine)": "per",
}
CODE = re.compile(r"^( *)```.*?^\1```$|`[^`\n]+`|\]\([^)]*\)", re.MULTILINE | re.DOTALL)


def find_banned(text: str) -> list[str]:
    """Return each banned phrase outside code with its context and what to write instead."""
    prose = " ".join(CODE.sub(" … ", text).split())
    return [
        f"…{prose[max(0, hit.start() - 30) : hit.end() + 20]}…  ->  {instead}"
        for wrong, instead in BANNED.items()
        for hit in re.finditer(rf"(?<![\w-])(?:{wrong})(?![\w-])", prose, re.IGNORECASE)
    ]


def docstrings(path: Path) -> Iterator[str]:
    """Yield every string that is a statement: docstrings of modules, functions and attributes."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            value = node.value.value
            if isinstance(value, str):
                yield value


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_banned_phrases_are_found_and_code_is_not() -> None:
    text = "It reads 80 images a second\nand goes on. `goes on` stands for itself.\n"
    assert len(find_banned(text)) == 2
    assert not find_banned("```text\nthe river\n```\nper second")


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_page_is_plain_english(page: Path) -> None:
    assert not find_banned(page.read_text("utf-8"))


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_docstrings_are_plain_english(module: Path) -> None:
    assert not [hit for text in docstrings(module) for hit in find_banned(text)]


@pytest.mark.parametrize("name", ["", *main.list_commands(click.Context(main))])
def test_help_is_plain_english(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"] if name else ["--help"])
    assert done.exit_code == 0
    assert not find_banned(done.output)
