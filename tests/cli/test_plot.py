"""`atrous plot`: writes the picture that was asked for, or says in one line why not."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from atrous.cli.main import main


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["plot", *map(str, args)])


def test_png_of_the_blocks(tmp_path: Path) -> None:
    path = tmp_path / "net.png"
    result = run("deeplabv2_resnet18", "-o", path, "--scales", "1,0.5")
    assert result.exit_code == 0, result.output
    assert result.output == f"wrote {path}\n"
    with Image.open(path) as picture:
        assert picture.width > picture.height


def test_layers_are_drawn_on_request(tmp_path: Path) -> None:
    blocks, layers = tmp_path / "blocks.svg", tmp_path / "layers.SVG"
    assert run("deeplabv2_resnet18", "-o", blocks).exit_code == 0
    assert run("deeplabv2_resnet18", "--layers", "-o", layers).exit_code == 0
    tall = [float(ElementTree.parse(p).getroot().attrib["height"][:-2]) for p in (blocks, layers)]
    assert tall[1] > 2 * tall[0]


def test_unknown_suffix_is_wrong_usage(tmp_path: Path) -> None:
    result = run("deeplabv2_resnet18", "-o", tmp_path / "net.jpg")
    assert result.exit_code == 2
    assert "net.jpg does not end in .svg, .png, .pdf" in result.stderr


def test_unknown_network_names_the_near_one(tmp_path: Path) -> None:
    result = run("deeplabv2_resnet102", "-o", tmp_path / "net.svg")
    assert result.exit_code == 2
    assert "did you mean deeplabv2_resnet101" in result.stderr
    assert not list(tmp_path.iterdir())


def test_output_must_be_named() -> None:
    assert "Missing option '-o'" in run("deeplabv2_resnet18").stderr


@pytest.mark.parametrize("name", ["missing/net.png", "file/net.png"])
def test_unwritable_path_is_one_line_and_status_1(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    result = run("deeplabv2_resnet18", "-o", tmp_path / name)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {(tmp_path / name).parent} is not a folder; create it")
    assert result.stderr.count("\n") == 1


def test_missing_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("deeplabv2_resnet18", "-o", tmp_path / "net.svg")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: drawing needs matplotlib")
