"""Draw every convolution of a network as a box, grouped into blocks, one line per stage."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .canvas import INK, MUTED, PAPER, Canvas
from .stages import (
    BRANCH_FILL,
    FILLS,
    HEADS,
    POOL_FILL,
    WIDEST_FILL,
    Stage,
    backbone_stages,
    head_parts,
    shape,
    single_blocks,
)
from .summary import Block, Layer, Summary

CARDS_A_LINE = 8
MARGIN = 1.75  # inches, for the names of the stages
CARD_WIDTH, CARD_GAP = 1.42, 0.26
BOX_HEIGHT, BOX_GAP = 0.36, 0.1
NODE = 0.08  # radius of the sum at the end of a residual block
BESIDE = 0.16  # distance from the convolutions of a block to its shortcut


@dataclass(frozen=True)
class Card:
    """One block.

    Attributes:
        layers: Convolutions and pools, in order.
        side: Projection of the shortcut, if there is one.
        shortcut: As in `Block`.
        fill: Colour of the boxes; None colours them by dilation.
    """

    layers: tuple[Layer, ...]
    side: Layer | None = None
    shortcut: str | None = None
    fill: str | None = None

    @property
    def indent(self) -> float:
        """Distance from the left edge to the convolutions; the shortcut runs between them."""
        return (BESIDE + (BOX_GAP if self.side else 0.0)) if self.shortcut else 0.0

    @property
    def height(self) -> float:
        boxes = len(self.layers) * (BOX_HEIGHT + BOX_GAP) - BOX_GAP
        return boxes + (2 * NODE + BOX_GAP if self.shortcut else 0.0)


@dataclass(frozen=True)
class Line:
    """A stage: its text and its blocks."""

    title: str
    notes: tuple[str, ...]
    cards: tuple[Card, ...]
    is_parallel: bool = False


def draw_layers(canvas: Canvas, summary: Summary) -> None:
    """Draw the stages below each other, each with its blocks from left to right."""
    y = _title(canvas, summary)
    for line in _lines(summary):
        y = _line(canvas, line, y) - 0.3
    canvas.text(0, y, _ending(summary), size_pt=9.5, align="left", colour=MUTED)


def _title(canvas: Canvas, summary: Summary) -> float:
    canvas.text(0, 0, summary.name, size_pt=14, align="left", bold=True)
    text = (
        f"{summary.parameters:,} parameters, {summary.macs / 1e9:.1f} GMAC, "
        f"image {shape((3, *summary.size_hw))}"
    )
    if any(layer.kind == "batch norm" for layer in summary.layers):
        text += "; each convolution of the backbone is followed by batch norm"
    canvas.text(0, -0.26, text, size_pt=9.5, align="left", colour=MUTED)
    return -0.65


def _ending(summary: Summary) -> str:
    texts: list[str] = []
    if len(summary.scales) > 1:
        scales = ", ".join(f"{scale.scale:g}" for scale in summary.scales)
        texts.append(f"run at scales {scales}, then the maximum of the scores")
    method = "a transposed convolution" if summary.upsampling == "transposed" else "bilinear"
    output = (summary.num_classes, *summary.size_hw)
    texts.append(f"then {method} upsampling, ×{summary.output_stride}, to {shape(output)}")
    return ", ".join(texts)


def _lines(summary: Summary) -> list[Line]:
    lines: list[Line] = []
    for stage in backbone_stages(summary):
        cards = _cards(stage.blocks)
        if stage.is_pool and lines:  # drawn on the line of the convolutions before it
            last = lines[-1]
            lines[-1] = Line(last.title, last.notes, last.cards + cards)
        else:
            lines.append(Line(stage.name, _notes(stage), cards))
    head = head_parts(summary)
    if head.before:
        lines.append(Line("head", (), _cards(head.before, BRANCH_FILL)))
    join = "concatenated" if head.is_concatenated else "summed"
    first, *others = head.branches
    notes = (join, shape(first.output)) if others else (shape(first.output),)
    branches = _cards(head.branches, BRANCH_FILL)
    title = HEADS[summary.head].partition(",")[0]
    lines.append(Line(title, notes, branches, is_parallel=True))
    if head.after:
        lines.append(Line("scores", (), _cards(head.after, BRANCH_FILL)))
    return lines


def _notes(stage: Stage) -> tuple[str, ...]:
    rate = f", rate {stage.dilation}" if stage.dilation > 1 else ""
    return (stage.kind, shape(stage.output), f"stride {stage.stride}{rate}")


def _cards(blocks: tuple[Block, ...], fill: str | None = None) -> tuple[Card, ...]:
    cards: list[Card] = []
    for block in blocks:
        for layers in single_blocks(block):
            shown = [layer for layer in layers if layer.kind != "batch norm"]
            if block.kind == "ImagePooling":
                shown = [replace(layer, kind="image mean, 1x1") for layer in shown]
            sides = [layer for layer in shown if ".downsample." in layer.name]
            path = tuple(layer for layer in shown if layer not in sides)
            cards.append(Card(path, sides[0] if sides else None, block.shortcut, fill))
    return tuple(cards)


def _line(canvas: Canvas, line: Line, top: float) -> float:
    """Draw a stage, with its blocks in one or more rows; return the y of its end."""
    canvas.text(0, top - 0.12, line.title, size_pt=11, align="left", bold=True)
    for index, note in enumerate(line.notes, start=1):
        y = top - 0.12 - 0.19 * index
        canvas.text(0, y, note, size_pt=9, align="left", colour=MUTED)
    notes_bottom = top - 0.25 - 0.19 * len(line.notes)
    y = top
    for start in range(0, len(line.cards), CARDS_A_LINE):
        cards = line.cards[start : start + CARDS_A_LINE]
        height = max(card.height for card in cards)
        for index, card in enumerate(cards):
            left = MARGIN + index * (CARD_WIDTH + CARD_GAP)
            _card(canvas, card, left, y)
            if not line.is_parallel:
                _input_arrow(canvas, cards[index - 1] if index else None, card, left, y)
        y -= height + 0.22
    return min(notes_bottom, y + 0.22)


def _input_arrow(canvas: Canvas, last: Card | None, card: Card, left: float, top: float) -> None:
    """Draw the arrow into a block, from the end of the block to its left if there is one."""
    middle = top - BOX_HEIGHT / 2
    bend = left - CARD_GAP / 2
    points = [(bend, middle), (left + card.indent - 0.01, middle)]
    if last is not None:
        end = top - last.height + (NODE if last.shortcut else BOX_HEIGHT / 2)
        start = left - CARD_GAP
        if last.shortcut:
            start -= (CARD_WIDTH - last.indent) / 2 - NODE
        points = [(start, end), (bend, end), *points]
    canvas.line(points, arrow=True)


def _card(canvas: Canvas, card: Card, left: float, top: float) -> None:
    width = CARD_WIDTH - card.indent
    middle = left + card.indent + width / 2
    y = top
    for index, layer in enumerate(card.layers):
        if index:
            canvas.line([(middle, y + BOX_GAP), (middle, y)])
        _layer(canvas, layer, left + card.indent, y - BOX_HEIGHT, width, card.fill)
        y -= BOX_HEIGHT + BOX_GAP
    if card.shortcut:
        node = top - card.height + NODE
        canvas.line([(middle, y + BOX_GAP), (middle, node)])
        _shortcut(canvas, card, left, top, middle, node)
        canvas.circle((middle, node), NODE, fill=PAPER)
        canvas.text(middle, node, "+", size_pt=8, bold=True)


def _shortcut(
    canvas: Canvas, card: Card, left: float, top: float, middle: float, node: float
) -> None:
    """Draw the shortcut past the convolutions into the sum, with its projection."""
    x = left + (BOX_GAP if card.side else 0.0)
    canvas.line([(x, top - BOX_HEIGHT / 2), (x, node), (middle - NODE, node)], arrow=True)
    if card.side:
        bottom, ceiling = node + BOX_GAP, top - BOX_HEIGHT / 2 - BOX_GAP
        canvas.box(x - BOX_GAP, bottom, 2 * BOX_GAP, ceiling - bottom, fill=FILLS[1], width_pt=0.6)
        canvas.text(x, (bottom + ceiling) / 2, card.side.kind, size_pt=7, turned=True)


def _layer(
    canvas: Canvas, layer: Layer, left: float, bottom: float, width: float, fill: str | None
) -> None:
    is_pool = "pool" in layer.kind
    colour = POOL_FILL if is_pool else fill or FILLS.get(layer.dilation, WIDEST_FILL)
    canvas.box(left, bottom, width, BOX_HEIGHT, fill=colour, width_pt=0.6)
    rate = f", rate {layer.dilation}" if layer.dilation > 1 else ""
    x = left + width / 2
    canvas.text(x, bottom + 0.25, f"{layer.kind}{rate}", size_pt=7.5, colour=INK)
    canvas.text(x, bottom + 0.11, shape(layer.output), size_pt=6.5, colour=MUTED)
