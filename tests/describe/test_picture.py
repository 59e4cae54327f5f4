"""Pictures: what is written in them, that nothing lies on anything else, and how they are saved."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox
from PIL import Image

from atrous.describe import Summary, draw, summarise
from atrous.describe.block_view import draw_blocks
from atrous.describe.canvas import Canvas
from atrous.describe.layer_view import draw_layers
from atrous.models import create_model

NETWORKS: dict[str, dict[str, Any]] = {
    "resnet101": {"name": "deeplabv2_resnet101", "scales": (1, 0.75, 0.5)},
    "resnet50 concat": {"name": "deeplabv2_resnet50", "head": "aspp_concat"},
    "resnet18": {"name": "deeplabv2_resnet18", "head": "conv1x1", "output_stride": 16},
    "vgg16": {"name": "deeplabv2_vgg16"},
    "vgg16 largefov": {"name": "deeplabv2_vgg16", "head": "largefov"},
    "lite0": {"name": "deeplabv2_efficientnet_lite0", "upsampling": "transposed"},
}


def summary_of(network: str, size_hw: tuple[int, int] = (513, 513)) -> Summary:
    with torch.device("meta"):
        return summarise(create_model(num_classes=21, **NETWORKS[network]), size_hw)


class Notebook(Canvas):
    """A canvas that remembers what was written on it."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        super().text(x, y, text, **style)
        self.words.append(text)

    def places(self) -> list[Bbox]:
        """Say where each text is, on a sheet of 20 by 20 inches."""
        self._figure.set_size_inches(20, 20)
        self._axes.set_xlim(0, 20)
        self._axes.set_ylim(0, 20)
        renderer = FigureCanvasAgg(self._figure).get_renderer()
        return [text.get_window_extent(renderer) for text in self._axes.texts if text.get_text()]


def draw_in_notebook(summary: Summary, *, layers: bool) -> Notebook:
    notebook = Notebook()
    (draw_layers if layers else draw_blocks)(notebook, summary)
    return notebook


def test_block_view_shows_shapes_strides_and_rates() -> None:
    words = draw_in_notebook(summary_of("resnet101"), layers=False).words
    for text in (
        "deeplabv2_resnet101",
        "44.0 M parameters, 344.9 GMAC at 513×513, scales 1, 0.75, 0.5",
        "3×513×513",
        "64×257×257",
        "23 bottlenecks",
        "2048×65×65",
        "stride 8, rate 4",
        "rate 6",
        "rate 24",
        "each 21×65×65",
        "+",
        "max",
        "scale 0.5",
        "3×257×257",
        "21×33×33",
        "bilinear ×8",
        "21×513×513",
    ):
        assert text in words, text
    assert words.count("resize to 65×65") == words.count("same weights") == 2


def test_block_view_of_concatenating_head() -> None:
    words = draw_in_notebook(summary_of("resnet50 concat"), layers=False).words
    assert {"cat", "image pooling", "project", "256×65×65"} <= set(words)
    assert "+" not in words
    assert "max" not in words


def test_block_view_of_vgg_pools_and_branches() -> None:
    words = draw_in_notebook(summary_of("vgg16 largefov", (321, 321)), layers=False).words
    assert words.count("max pool") == 5
    assert {"conv5_1-3", "3 conv 3x3", "smooth", "LargeFOV", "rate 12"} <= set(words)
    assert "+" not in words


def test_block_view_of_learned_upsampling() -> None:
    words = draw_in_notebook(summary_of("lite0"), layers=False).words
    assert {"stages.6", "4 inv. residuals", "learned ×8"} <= set(words)


def test_layer_view_shows_every_convolution() -> None:
    summary = summary_of("resnet101")
    words = draw_in_notebook(summary, layers=True).words
    convolutions = [layer for layer in summary.layers if layer.kind.startswith("conv")]
    drawn = [text for text in words if text.startswith("conv ") and "," not in text]
    drawn += [text for text in words if text.startswith("conv 3x3, rate")]
    assert len(convolutions) == 108
    assert len(drawn) == 108 + 1  # and the note beside the stem
    assert words.count("conv 3x3, rate 2") == 23
    assert words.count("+") == 33


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("layers", "size_hw"), [(True, (513, 513)), (False, (513, 513)), (False, (200, 1000))]
)
def test_no_word_lies_on_another(network: str, layers: bool, size_hw: tuple[int, int]) -> None:
    notebook = draw_in_notebook(summary_of(network, size_hw), layers=layers)
    placed = list(zip(notebook.words, notebook.places(), strict=True))
    for index, (one, box) in enumerate(placed):
        for other, earlier in placed[:index]:
            assert not box.overlaps(earlier), (one, other)


@pytest.mark.parametrize("layers", [False, True])
def test_png_svg_and_pdf_are_written(tmp_path: Path, layers: bool) -> None:
    summary = summary_of("resnet18", (65, 65))
    for suffix in ("png", "svg", "pdf"):
        draw(summary, tmp_path / f"net.{suffix}", layers=layers)
    with Image.open(tmp_path / "net.png") as picture:
        assert picture.width > 1000
    assert ElementTree.parse(tmp_path / "net.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "net.pdf").read_bytes().startswith(b"%PDF")
    assert len(list(tmp_path.iterdir())) == 3


def test_equal_networks_give_equal_files(tmp_path: Path) -> None:
    summary = summary_of("resnet18", (65, 65))
    for name in ("one.svg", "two.svg"):
        draw(summary, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize("name", ["net.jpg", "net", "net.png.txt"])
def test_unknown_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"does not end in \.svg, \.png, \.pdf"):
        draw(summary_of("resnet18", (65, 65)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        draw(summary_of("resnet18", (65, 65)), tmp_path / "missing" / "net.png")


def test_broken_write_leaves_the_old_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.svg"
    path.write_text("old")

    def fill_the_disk(_: Any, file: IO[bytes], **__: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        draw(summary_of("resnet18", (65, 65)), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'atrous\[plot\]'"):
        draw(summary_of("resnet18", (65, 65)), tmp_path / "net.png")


def test_importing_describe_loads_no_matplotlib() -> None:
    code = "import atrous.describe, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
