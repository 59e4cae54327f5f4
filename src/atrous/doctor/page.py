"""Write the findings and statistics as one HTML file, images included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from ..html_page import bar, class_label, figure, table, write_html
from ..labels import LabelSet
from ..visualize import percent
from .examination import Examination, SplitFacts
from .findings import Finding, Level

MOST_DETAILS = 100
MARKS = {Level.BREAKS: "✖", Level.WARNING: "▲", Level.NOTE: "●"}

_STYLE = """
.verdict { font-size: 1.1rem; font-weight: 600; }
.finding { border-left: 4px solid var(--faint); padding: .3rem .9rem; margin: .7rem 0; }
.BREAKS { border-color: #cf222e; } .WARNING { border-color: #d4a72c; }
.BREAKS .mark { color: #cf222e; } .WARNING .mark { color: #bf8700; }
"""


def write_page(path: Path, examination: Examination, findings: Sequence[Finding]) -> None:
    """Write the report as one file; reading it needs no network.

    Raises:
        OSError: If the file cannot be written.
    """
    title = f"{examination.dataset} in {examination.root}"
    body = [
        f'<p class="verdict">{escape(verdict(findings))}</p>',
        *(_finding(finding) for finding in findings),
        "<h2>Splits</h2>",
        _splits(examination.splits),
    ]
    if examination.label_set is not None:
        body += ["<h2>Classes</h2>", _classes(examination.label_set, examination.splits)]
        body += [_sheet(split) for split in examination.splits if split.sheet]
    write_html(path, title, body, style=_STYLE)


def verdict(findings: Sequence[Finding]) -> str:
    """Return one sentence: whether the data can be used for training."""
    breaks = sum(finding.level is Level.BREAKS for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if breaks:
        return f"This data will not train: {breaks} problem(s) to fix first."
    if warnings:
        return f"This data will train; {warnings} problem(s) will lower the scores."
    return "This data will train."


def describe_sizes(split: SplitFacts) -> str:
    """Return the sizes of a split's images as width x height: one, or smallest to largest."""
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
            f"{len(split.names):,}" if not split.error else "cannot be opened",
            f"{len(split.examined):,}",
            f"{len(split.faults):,}",
            percent(split.void_share) if split.void_pixels else "0",
            describe_sizes(split),
        )
        for split in splits
    ]
    return table(head, [[escape(cell) for cell in row] for row in rows])


def _classes(label_set: LabelSet, splits: Sequence[SplitFacts]) -> str:
    read = [split for split in splits if split.examined]
    head = ["class"]
    for split in read:
        head += [f"{split.name}: images", "share of known pixels", ""]
    rows: list[list[str]] = []
    shares = [split.pixels / max(1, split.pixels.sum()) for split in read]
    largest = max((float(share.max()) for share in shares), default=1.0) or 1.0
    for index, name in enumerate(label_set.names):
        row = [class_label(index, name, label_set.palette[index])]
        for split, share in zip(read, shares, strict=True):
            part = float(share[index])
            row += [
                f"{split.images[index]:,}",
                percent(part) if part else "–",
                bar(part / largest),
            ]
        rows.append(row)
    return table(head, rows, bars=range(3, 3 * len(read) + 1, 3))


def _sheet(split: SplitFacts) -> str:
    figures = "\n".join(figure(image, name) for name, image in split.sheet)
    return (
        f'<h2>Labels over images of {escape(split.name)}</h2><p class="faint">Check that outlines '
        "follow the image content and that the colours are those of the classes above.</p>"
        f'<div class="sheet">{figures}</div>'
    )
