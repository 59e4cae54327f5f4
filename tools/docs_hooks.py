"""MkDocs hooks of the documentation site: generated references, pages of the root, links.

`mkdocs.yml` names this file. Building the site imports atrous, so that the references of commands
and recipes are made from the objects that run.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import types
import typing
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
ROOT_PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
# A fenced block, a link (its text may hold one pair of brackets; no image), or code. The first two
# groups of a link are its text and target; of code they are empty.
LINK_OR_CODE = re.compile(
    r"^ *```.*?^ *```$"
    r"|(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]+)(#[^)\s]*)?\)"
    r"|`[^`\n]+`",
    re.MULTILINE | re.DOTALL,
)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the changelog and the contributors' page, which lie in the root of the repository."""
    from mkdocs.structure.files import File

    for source, target in ROOT_PAGES.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the generated references, and lead links to where the site has their targets."""
    path = page.file.src_uri
    for mark, make in GENERATED.items():
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    return rewrite_links(markdown, path, repository=config.repo_url)


def rewrite_links(markdown: str, path: str, *, repository: str | None) -> str:
    """Rewrite links to files outside docs/.

    Files with a page of their own (`ROOT_PAGES`) become links to it. All others become links into
    the repository, or, where mkdocs.yml has no `repo_url`, the path as text.

    Args:
        markdown: A page.
        path: The page inside docs/, such as `guide/crf.md`.
        repository: Address of the repository.
    """
    is_root = path in ROOT_PAGES.values()
    source_folder = PurePosixPath() if is_root else PurePosixPath("docs", path).parent

    def rewrite(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if target is None or ":" in target or target.startswith("/"):
            return match[0]
        full = PurePosixPath(os.path.normpath(source_folder / target)).as_posix()
        if full in ROOT_PAGES or full.startswith("docs/"):
            inside = ROOT_PAGES.get(full) or full.removeprefix("docs/")
            here = PurePosixPath(path).parent.as_posix()
            return f"[{text}]({PurePosixPath(os.path.relpath(inside, here)).as_posix()}{anchor})"
        if repository:
            return f"[{text}]({repository.rstrip('/')}/blob/main/{full}{anchor})"
        return f"`{full}`" if full.endswith(text.strip("`/")) else f"{text} (`{full}`)"

    return LINK_OR_CODE.sub(rewrite, markdown)


def command_reference() -> str:
    """Describe every command, from click's own objects."""
    import click

    from atrous.cli.main import main

    context = click.Context(main, info_name="atrous", **main.context_settings)
    lines = _describe_command(main, context)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        child = click.Context(command, info_name=name, parent=context)
        lines += [f"## {context.info_name} {name}", "", *_describe_command(command, child)]
    return "\n".join(lines)


def _describe_command(command: click.Command, context: click.Context) -> list[str]:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = ["```text", usage, "```", ""]
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        if paragraph.startswith("\b\n"):  # click's mark for text with lines of its own
            lines += ["```text", paragraph.removeprefix("\b\n"), "```", ""]
        else:
            lines += [_escape(" ".join(paragraph.split())), ""]
    help_option = command.get_help_option(context)
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if not record or not record[1] or (parameter is help_option and context.parent):
            continue  # an argument without text is described above; --help is the same everywhere
        lines += [f"`{record[0]}`", f":   {_escape(record[1])}", ""]
    return lines


def recipe_reference() -> str:
    """Describe every key of a recipe, from the dataclasses that read it."""
    from atrous.training.recipe import Recipe

    return "\n".join(_describe_table(Recipe, ""))


def _describe_table(kind: Any, name: str) -> list[str]:
    from atrous.tables import field_docs

    hints, docs = typing.get_type_hints(kind), field_docs(kind)
    lines: list[str] = []
    tables: list[str] = []
    for field in dataclasses.fields(kind):
        hint, text = hints[field.name], _escape(docs.get(field.name, ""))
        key = f"{name}.{field.name}" if name else field.name
        if dataclasses.is_dataclass(hint):
            tables += [f"## [{key}]", "", text, "", *_describe_table(hint, key)]
        else:
            facts = f"*{describe_type(hint)}*, {_describe_default(field)}."
            lines += [f"`{key}`", f":   {facts} {text}", ""]
    return lines + tables


def describe_type(hint: Any) -> str:
    """Say in words which values a key of a recipe takes."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return " or ".join(describe_type(a) for a in arguments if a is not types.NoneType)
    if origin is typing.Literal:
        return " or ".join(f"`{json.dumps(a)}`" for a in arguments)
    if origin is tuple:
        count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"list of {count}{describe_type(arguments[0])}s"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}[hint]


def _describe_default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"default `{json.dumps(field.default_factory())}`"
    if field.default is dataclasses.MISSING:
        return "required"
    return (
        "not set by default" if field.default is None else f"default `{json.dumps(field.default)}`"
    )


def _escape(text: str) -> str:
    """Escape what Markdown would read as markup, outside of `code`."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([*_<>\[\]\\])", r"\\\1", p) for p in parts)


GENERATED = {
    "<!-- generated: commands -->": command_reference,
    "<!-- generated: recipe -->": recipe_reference,
}
