"""Examples in the README and the docs run; commands, options, links and files in them exist."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

import atrous
from atrous.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
INLINE_COMMAND = re.compile(r"`(atrous [a-z][^`]*)`")
PARAMETER_ROW = re.compile(r"\| `(deeplabv2_\w+)` \| ([\d,]+) \|")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text and the line of the page where the text starts."""

    page: Path
    language: str
    text: str
    line: int


def read_blocks(page: Path, language: str) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    fences = re.finditer(r"^( *)```(\w+)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [
        Block(page, match[2], match[3], text[: match.start(3)].count("\n") + 1)
        for match in fences
        if match[2] == language
    ]


def blocks(language: str) -> list[Block]:
    return [block for page in PAGES for block in read_blocks(page, language)]


def name(value: Block | Path) -> str:
    if isinstance(value, Path):
        return value.relative_to(ROOT).as_posix()
    return f"{value.page.relative_to(ROOT).as_posix()}:{value.line}"


def atrous_commands() -> list[str]:
    """Every call of atrous in a bash block, and in the running text between backquotes."""
    lines = [
        line.strip()
        for block in blocks("bash")
        for line in block.text.replace("\\\n", " ").splitlines()
        if line.startswith("atrous ")
    ]
    inline = [call for page in PAGES for call in INLINE_COMMAND.findall(page.read_text("utf-8"))]
    return list(dict.fromkeys(lines + inline))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the examples read."""
    photo = Path(atrous.__file__).parent / "demo" / "china.jpg"
    shutil.copy(photo, tmp_path / "photo.jpg")
    (tmp_path / "photos").mkdir()
    shutil.copy(photo, tmp_path / "photos" / "second.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def torchvision_file(workplace: Path) -> Path:
    """A file of torchvision's layout, with random weights."""
    import torch

    torch.manual_seed(0)
    backbone = atrous.create_model("deeplabv2_resnet18", num_classes=2).backbone
    state = {**backbone.state_dict(), "fc.weight": torch.zeros(5, 512), "fc.bias": torch.zeros(5)}
    torch.save(state, workplace / "resnet18.pth")
    return workplace / "resnet18.pth"


@pytest.mark.usefixtures("torchvision_file")
@pytest.mark.parametrize("page", [page for page in PAGES if read_blocks(page, "python")], ids=name)
def test_python_examples_run(page: Path) -> None:
    for block in read_blocks(page, "python"):
        code = "\n" * (block.line - 1) + block.text  # so that a traceback names the page's line
        exec(compile(code, str(page), "exec"), {"__name__": "example"})


@pytest.mark.parametrize("line", atrous_commands())
def test_command_line_examples_parse(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    _, command, arguments = main.resolve_command(click.Context(main), words)
    assert command is not None
    if not arguments and f"`{line}`" in "".join(page.read_text("utf-8") for page in PAGES):
        return  # running text that names a command
    given, superfluous, _ = command.make_parser(click.Context(command)).parse_args(list(arguments))
    assert not superfluous
    assert not [
        param.name for param in command.params if param.required and not given.get(param.name)
    ]
    recipes = [word for word in arguments if word.startswith("recipes/")]
    assert all((ROOT / recipe).is_file() for recipe in recipes)


@pytest.mark.parametrize("block", blocks("toml"), ids=name)
def test_recipe_examples_are_recipes(block: Block, tmp_path: Path) -> None:
    from atrous.training import load_recipe

    path = tmp_path / "recipe.toml"
    path.write_text(block.text, encoding="utf-8")
    assert load_recipe(path).name == tomllib.loads(block.text)["name"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_readme_counts_parameters_right() -> None:
    import torch

    rows = dict(PARAMETER_ROW.findall((ROOT / "README.md").read_text("utf-8")))
    with torch.device("meta"):
        models = {name: atrous.create_model(name, num_classes=21) for name in atrous.list_models()}
    counts = {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
    assert rows == {name: f"{count:,}" for name, count in counts.items()}


@pytest.mark.parametrize("part", ["main", "tests"])
def test_quick_start_takes_two_lines(part: str) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    match = re.search(
        rf"<!-- quickstart: {part} -->\n```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    )
    assert match is not None
    assert len(match[1].splitlines()) <= 2
