"""The examination as one HTML file, pictures included."""

from __future__ import annotations

import base64
import io
import os
import uuid
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..labels import LabelSet
from ..visualize import percent
from .examination import Examination, SplitFacts
from .findings import Finding, Level

MOST_DETAILS = 100
MARKS = {Level.BREAKS: "✖", Level.WARNING: "▲", Level.NOTE: "●"}

_STYLE = """
:root { --ink: #24292f; --faint: #6e7681; --line: #d8dee4; --paper: #ffffff; --bar: #4a7ebb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --faint: #9198a1; --line: #3d444d; --paper: #0d1117; --bar: #6ea8e5; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.faint { color: var(--faint); }
.verdict { font-size: 1.1rem; font-weight: 600; }
.finding { border-left: 4px solid var(--faint); padding: .3rem .9rem; margin: .7rem 0; }
.BREAKS { border-color: #cf222e; } .WARNING { border-color: #d4a72c; }
.BREAKS .mark { color: #cf222e; } .WARNING .mark { color: #bf8700; }
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


def write_page(path: Path, examination: Examination, findings: Sequence[Finding]) -> None:
    """Write the report; it needs no other file and no network.

    Raises:
        OSError: If the file cannot be written.
    """
    title = f"{examination.dataset} in {examination.root}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="verdict">{escape(verdict(findings))}</p>',
        *(_finding(finding) for finding in findings),
        "<h2>Splits</h2>",
        _splits(examination.splits),
    ]
    if examination.label_set is not None:
        body += ["<h2>Classes</h2>", _classes(examination.label_set, examination.splits)]
        body += [_sheet(split) for split in examination.splits if split.sheet]
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:  # name the file that was asked for, not the temporary one
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def verdict(findings: Sequence[Finding]) -> str:
    """Say in a sentence whether the data will train."""
    breaks = sum(finding.level is Level.BREAKS for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if breaks:
        return f"This data will not train: {breaks} thing(s) to mend first."
    if warnings:
        return f"This data will train; {warnings} thing(s) will lower the scores."
    return "This data will train."


def describe_sizes(split: SplitFacts) -> str:
    """Write the sizes of a split's images as width x height: one, or smallest to largest."""
    if not split.sizes_hw:
        return "–"
    sizes = sorted(set(split.sizes_hw), key=lambda size: size[0] * size[1])
    if len(sizes) == 1:
        return f"{sizes[0][1]}x{sizes[0][0]}"
    middle = sorted(split.sizes_hw, key=lambda size: size[0] * size[1])[len(split.sizes_hw) // 2]
    ends = (sizes[0], middle, sizes[-1])
    small, median, large = (f"{width}x{height}" for height, width in ends)
    return f"{small} to {large}, median {median}"


def _finding(finding: Finding) -> str:
    lines = ""
    if finding.details:
        shown = "".join(f"<li>{escape(line)}</li>" for line in finding.details[:MOST_DETAILS])
        rest = len(finding.details) - MOST_DETAILS
        more = f"<p>and {rest} more</p>" if rest > 0 else ""
        is_open = " open" if finding.level is Level.BREAKS and len(finding.details) <= 10 else ""
        count = len(finding.details)
        lines = f"<details{is_open}><summary>{count} in detail</summary><ul>{shown}</ul>{more}"
        lines += "</details>"
    return (
        f'<div class="finding {finding.level.name}"><span class="mark">{MARKS[finding.level]}'
        f"</span> {escape(finding.text)}<br>"
        f'<span class="faint">{escape(finding.remedy)}</span>{lines}</div>'
    )


def _splits(splits: Iterable[SplitFacts]) -> str:
    head = ("split", "pairs", "read", "unusable", "void", "width x height")
    rows = [
        (
            split.name,
            f"{len(split.names):,}" if not split.error else "does not open",
            f"{len(split.examined):,}",
            f"{len(split.faults):,}",
            percent(split.void_share) if split.void_pixels else "0",
            describe_sizes(split),
        )
        for split in splits
    ]
    return _table(head, [[escape(cell) for cell in row] for row in rows])


def _classes(label_set: LabelSet, splits: Sequence[SplitFacts]) -> str:
    read = [split for split in splits if split.examined]
    head = ["class"]
    for split in read:
        head += [f"{split.name}: images", "share of known pixels", ""]
    rows: list[list[str]] = []
    shares = [split.pixels / max(1, split.pixels.sum()) for split in read]
    largest = max((float(share.max()) for share in shares), default=1.0) or 1.0
    for index, name in enumerate(label_set.names):
        colour = "rgb({}, {}, {})".format(*label_set.palette[index])
        row = [f'<span class="swatch" style="background:{colour}"></span>{index} {escape(name)}']
        for split, share in zip(read, shares, strict=True):
            part = float(share[index])
            width = 100 * part / largest
            row += [
                f"{split.images[index]:,}",
                percent(part) if part else "–",
                f'<div style="width:{width:.1f}%"></div>',
            ]
        rows.append(row)
    return _table(head, rows, bars=range(3, 3 * len(read) + 1, 3))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], bars: Iterable[int] = ()) -> str:
    bars = set(bars)
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = [
        "".join(
            f'<td class="bar">{cell}</td>' if place in bars else f"<td>{cell}</td>"
            for place, cell in enumerate(row)
        )
        for row in rows
    ]
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table>"


def _sheet(split: SplitFacts) -> str:
    figures = "".join(
        f'<figure><img alt="{escape(name)}" src="{_embed(picture)}">'
        f"<figcaption>{escape(name)}</figcaption></figure>\n"
        for name, picture in split.sheet
    )
    return (
        f'<h2>Labels over images of {escape(split.name)}</h2><p class="faint">Outlines must follow '
        "what is in the picture, and the colours must be those of the classes above.</p>"
        f'<div class="sheet">{figures}</div>'
    )


def _embed(picture: NDArray[np.uint8]) -> str:
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")
