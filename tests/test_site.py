"""The documentation site builds without a warning and is complete."""

from __future__ import annotations

import dataclasses
import html
import importlib.util
import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import atrous
from atrous.cli.main import main

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """tools/docs_hooks.py, which needs no MkDocs to be imported."""
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "tools" / "docs_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(page: Path) -> str:
    """Give the text of a page without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def loads_from_elsewhere(page: Path) -> list[str]:
    """List what a page loads from other servers: scripts, styles, images, fonts."""
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text(encoding="utf-8"))
    return [tag for tag in tags if re.search(r"(?:src|href)=[\"']?(?:https?:)?//", tag)]


def keys(kind: type, prefix: str = "") -> Iterator[str]:
    """Name every key of a recipe."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            yield from keys(hint, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


@pytest.mark.timeout(300)  # alone it takes 10 s; beside other tests on a small machine, more
def test_site_builds_without_a_warning_and_is_complete(tmp_path: Path) -> None:
    for tool in ("material", "mkdocstrings"):
        pytest.importorskip(tool, reason="the documentation tools are not installed: .[docs]")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr

    pages = sorted(tmp_path.rglob("index.html"))
    assert len(pages) > 20
    assert not [tag for page in pages for tag in loads_from_elsewhere(page)]

    reference = tmp_path / "reference"
    text = "".join(page.read_text(encoding="utf-8") for page in reference.rglob("index.html"))
    functions = [name for name in atrous.__all__ if not name.startswith("__")]
    assert not [name for name in functions if f'id="atrous.{name}"' not in text]
    assert 'href="../changelog/"' in (tmp_path / "contributing/index.html").read_text("utf-8")


def test_command_reference_has_every_command_and_option(hooks: ModuleType) -> None:
    import click

    text = re.sub(r"\\([*_<>\[\]\\])", r"\1", hooks.command_reference())  # Markdown's escapes
    context = click.Context(main)
    for name in main.list_commands(context):
        section = text.split(f"\n## atrous {name}\n")[1].split("\n## ")[0]
        command = main.get_command(context, name)
        assert command is not None
        assert command.params
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.opts[-1] in section
                assert (option.help or "").replace("\n", " ") in section


def test_recipe_reference_has_every_key_with_type_default_and_meaning(hooks: ModuleType) -> None:
    from atrous.training import Recipe

    text = hooks.recipe_reference()
    for key in keys(Recipe):
        (line,) = re.findall(rf"^`{re.escape(key)}`\n:   (.+)$", text, re.MULTILINE)
        assert re.match(r"\*[^*]+\*, (required|not set by default|default `.+?`)\. \S+", line), key
    assert '`"sgd"` or `"adamw"`' in text
    assert "*list of 2 whole numbers*, default `[321, 321]`." in text


@pytest.mark.parametrize(
    ("path", "link", "expected"),
    [
        ("crf.md", "[a](../benchmarks/results/crf.json)", "a (`benchmarks/results/crf.json`)"),
        ("crf.md", "[recipes/](../recipes)", "`recipes`"),
        ("crf.md", "[`data/base.py`](../src/data/base.py)", "`src/data/base.py`"),
        (
            "crf.md",
            "[a](training.md#b), [c](../CHANGELOG.md)",
            "[a](training.md#b), [c](changelog.md)",
        ),
        ("reference/recipes.md", "[c](../../CHANGELOG.md)", "[c](../changelog.md)"),
        ("changelog.md", "[a](docs/crf.md#b)", "[a](crf.md#b)"),
        ("changelog.md", "[a](LICENSE)", "a (`LICENSE`)"),
        ("crf.md", "`x[i](../a)`\n\n```\n[a](../b)\n```", None),
        ("crf.md", "[a](https://example.org/b)", None),
        ("crf.md", "![a](images/b.png)", None),
    ],
)
def test_links_lead_to_pages_or_become_text(
    hooks: ModuleType, path: str, link: str, expected: str | None
) -> None:
    assert hooks.rewrite_links(link, path, repository=None) == (expected or link)


def test_links_lead_into_the_repository_where_one_is_named(hooks: ModuleType) -> None:
    link = hooks.rewrite_links("[a](../src/b.py)", "crf.md", repository="https://example.org/r/")
    assert link == "[a](https://example.org/r/blob/main/src/b.py)"
