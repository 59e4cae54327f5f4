"""HTML pages as one file with embedded images, readable without a network."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .atomic_file import write_text
from .labels import Colour

_STYLE = """
:root { --ink: #24292f; --faint: #6e7681; --line: #d8dee4; --paper: #ffffff; --bar: #4a7ebb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --faint: #9198a1; --line: #3d444d; --paper: #0d1117; --bar: #6ea8e5; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.faint { color: var(--faint); }
details { color: var(--faint); } li { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; } th { font-weight: 600; text-align: right; }
th, td { padding: .18rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
td.bar { width: 26%; } .bar div { height: .7rem; background: var(--bar); border-radius: 2px; }
.swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px;
  margin-right: .5rem; border: 1px solid var(--line); vertical-align: -1px; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: .8rem; }
figure { margin: 0; } img { width: 100%; border-radius: 4px; display: block; }
figcaption { font-size: .8rem; color: var(--faint); overflow-wrap: anywhere; }
"""


def write_html(path: Path, title: str, body: Sequence[str], *, style: str = "") -> None:
    """Write a page as one file.

    Args:
        path: The file to write.
        title: Plain text: title and first heading of the page.
        body: Pieces of HTML.
        style: CSS rules in addition to those of all pages.

    Raises:
        OSError: If the file cannot be written; an older one stays.
    """
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(body) + "\n</body></html>\n"
    )
    write_text(path, page)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, bars: Iterable[int] = ()) -> str:
    """Return a table as HTML.

    Args:
        head: Plain text of each header cell.
        rows: HTML of each cell.
        bars: Indices of the columns made by `bar`.
    """
    bars = set(bars)
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = [
        "".join(
            f'<td class="bar">{cell}</td>' if column in bars else f"<td>{cell}</td>"
            for column, cell in enumerate(row)
        )
        for row in rows
    ]
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table>"


def bar(share: float) -> str:
    """Return a share of 0..1 as a bar in its cell."""
    return f'<div style="width:{100 * share:.1f}%"></div>'


def class_label(index: int, name: str, colour: Colour) -> str:
    """Return the index, name and colour of a class as HTML."""
    rgb = "rgb({}, {}, {})".format(*colour)
    return f'<span class="swatch" style="background:{rgb}"></span>{index} {escape(name)}'


def figure(image: NDArray[np.uint8], caption: str) -> str:
    """Return an (H, W, 3) uint8 image with a caption as HTML, embedded as JPEG."""
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=85)
    source = "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")
    text = escape(caption)
    return f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>'
