"""Trimap curves as a picture."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from atrous.describe import draw_trimap

CURVES = {f"way {index}": {1: 0.1 * index, 3: 0.3, 40: 0.5} for index in range(8)}


def test_every_way_has_a_curve_and_a_name(tmp_path: Path) -> None:
    draw_trimap(CURVES, tmp_path / "a.svg", title="weights on data")
    text = (tmp_path / "a.svg").read_text("utf-8")
    # matplotlib draws letters as shapes, and keeps the text as a comment.
    for name in (*CURVES, "weights on data", "mean IoU in the band (%)"):
        assert f"<!-- {name} -->" in text
    lines = re.findall(r'<g id="line2d_\d+">\s*<path d="([^"]+)" clip-path', text)
    assert len([line for line in lines if line.count("L") == 2]) == len(CURVES)


def test_png_is_written_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")
    draw_trimap(CURVES, path)
    with Image.open(path) as picture:
        assert min(picture.size) > 500
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_drawn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"a.jpg does not end in .svg, .png, .pdf"):
        draw_trimap(CURVES, tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="no curve to draw"):
        draw_trimap({}, tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'atrous\[plot\]'"):
        draw_trimap(CURVES, tmp_path / "a.png")
