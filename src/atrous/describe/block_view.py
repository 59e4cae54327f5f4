"""Draw a network as a row of cuboids, one per stage; height is rows, thickness is channels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .canvas import INK, MUTED, PAPER, Canvas
from .stages import (
    BRANCH_FILL,
    FILLS,
    HEADS,
    MAP_FILL,
    POOL_FILL,
    Head,
    Stage,
    backbone_stages,
    head_parts,
    shape,
    words,
)
from .summary import Block, Summary
from .trace import Scale

TALLEST = 1.7  # height of the input in inches
STEP, POOL_STEP = 1.26, 0.9  # distance of neighbouring slabs
SLANT, LIFT = 0.24, 0.16  # offset of the rear edge of a slab, per inch of its columns
LINE = 0.17
BRANCH_WIDTH, BRANCH_HEIGHT, BRANCH_GAP = 1.5, 0.56, 0.12
NODE = 0.2  # radius of a sum


@dataclass(frozen=True)
class Slab:
    """A feature map and the text below it."""

    output: tuple[int, int, int]
    fill: str
    title: str
    notes: tuple[str, ...] = ()
    step: float = STEP


def draw_blocks(canvas: Canvas, summary: Summary) -> None:
    """Draw the input, the stages, the branches of the head, their sum and the upsampling."""
    head = head_parts(summary)
    features = _features(summary, head)
    scores = _scores(summary, head)
    _title(canvas, summary, features)
    right = _tower(canvas, summary, head, features, scores)
    if len(summary.scales) > 1:
        node = right + 0.75
        y = _tower_bottom(summary, head)
        for scale in summary.scales[1:]:
            y -= _extent(summary, summary.size_hw, scale.scale) + 0.15
            _small_tower(canvas, summary, head, scale, features, node=node, y=y)
            y -= _extent(summary, summary.size_hw, scale.scale) + 0.15 + 2 * LINE
        canvas.line([(right, 0), (node - NODE, 0)], arrow=True)
        canvas.circle((node, 0), NODE, fill=PAPER)
        canvas.text(node, 0, "max", size_pt=8.5, bold=True)
        right = node + NODE
    _upsampling(canvas, summary, right)


def _features(summary: Summary, head: Head) -> list[Slab]:
    """List the maps from the image to the input of the branches."""
    image = Slab((3, *summary.size_hw), MAP_FILL, "image", ("input", shape((3, *summary.size_hw))))
    slabs = [image, *map(_stage_slab, backbone_stages(summary))]
    return [*slabs, *(_block_slab(block) for block in head.before)]


def _scores(summary: Summary, head: Head) -> list[Slab]:
    """List the maps after the branches; the last one is the scores."""
    output = (summary.num_classes, *summary.scales[0].scores_hw)
    join = "sum" if len(head.branches) > 1 else "logits"
    notes = ("conv 1x1" if head.after else join, shape(output))
    return [
        *(_block_slab(block) for block in head.after[:-1]),
        Slab(output, MAP_FILL, "scores", notes),
    ]


def _stage_slab(stage: Stage) -> Slab:
    step = POOL_STEP if stage.is_pool else STEP
    kind = stage.kind.removeprefix("max pool ")
    rate = f", rate {stage.dilation}" if stage.dilation > 1 else ""
    notes = (kind, shape(stage.output), f"stride {stage.stride}{rate}")
    return Slab(stage.output, stage.fill, "max pool" if stage.is_pool else stage.name, notes, step)


def _block_slab(block: Block) -> Slab:
    fill = POOL_FILL if "pool" in block.kind else BRANCH_FILL
    name = block.name.removeprefix("head.")
    return Slab(block.output, fill, name, (words(block.kind), shape(block.output)))


def _title(canvas: Canvas, summary: Summary, features: list[Slab]) -> None:
    stack = len(head_parts(summary).branches) * (BRANCH_HEIGHT + BRANCH_GAP) / 2
    y = max(_extent(summary, summary.size_hw, 1), stack) + 0.6
    canvas.text(-0.35, y, summary.name, size_pt=13, align="left", bold=True)
    size = "×".join(map(str, summary.size_hw))
    scales = ", ".join(f"{scale.scale:g}" for scale in summary.scales)
    at = f"{size}, scales {scales}" if len(summary.scales) > 1 else size
    line = f"{summary.parameters / 1e6:.1f} M parameters, {summary.macs / 1e9:.1f} GMAC at {at}"
    canvas.text(-0.35, y - 0.24, line, size_pt=9.5, align="left", colour=MUTED)
    used = {slab.fill for slab in features}
    x = sum(slab.step for slab in features) - 1.2
    for dilation, fill in reversed(FILLS.items()):
        if fill in used:
            canvas.box(x, y - 0.06, 0.2, 0.13, fill=fill)
            canvas.text(x + 0.27, y, f"atrous rate {dilation}", size_pt=8.5, align="left")
            x -= 1.35


def _height(summary: Summary, rows: int) -> float:
    """Return the height of a map in inches; small maps are enlarged to stay visible."""
    return TALLEST * (rows / max(summary.size_hw)) ** 0.6


def _extent(summary: Summary, size_hw: tuple[int, int], scale: float) -> float:
    """Return half the drawn height of a slab with these rows and columns."""
    rows, columns = (max(1, round(n * scale)) for n in size_hw)
    return (_height(summary, rows) + LIFT * _height(summary, columns)) / 2


def _half_width(summary: Summary, output: tuple[int, int, int], scale: float) -> float:
    channels, _, columns = output
    thick = 0.045 * math.log2(max(2, channels))
    return (thick + SLANT * _height(summary, max(1, round(columns * scale)))) / 2


def _gap(head: Head) -> float:
    """Return the distance from the features to the branches."""
    return 0.6 if len(head.branches) > 1 else 0.35


def _slab(canvas: Canvas, summary: Summary, slab: Slab, x: float, y: float, scale: float) -> float:
    """Draw a map as a cuboid centred at (x, y); return the x of its right side."""
    _, rows, columns = slab.output
    tall = _height(summary, max(1, round(rows * scale)))
    deep = _height(summary, max(1, round(columns * scale)))
    dx, dy = SLANT * deep, LIFT * deep
    half = _half_width(summary, slab.output, scale)
    left, right = x - half, x + half - dx
    bottom, top = y - (tall + dy) / 2, y + (tall - dy) / 2
    front = [(left, bottom), (right, bottom), (right, top), (left, top)]
    lid = [(left, top), (right, top), (right + dx, top + dy), (left + dx, top + dy)]
    side = [(right, bottom), (right + dx, bottom + dy), (right + dx, top + dy), (right, top)]
    canvas.polygon(front, fill=slab.fill)
    canvas.polygon(lid, fill=_mixed(slab.fill, PAPER, 0.45))
    canvas.polygon(side, fill=_mixed(slab.fill, INK, 0.16))
    return right + dx


def _mixed(colour: str, other: str, share: float) -> str:
    pairs = ((int(c[i : i + 2], 16) for c in (colour, other)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _labelled(canvas: Canvas, summary: Summary, slab: Slab, x: float) -> float:
    right = _slab(canvas, summary, slab, x, 0, 1)
    _notes(canvas, x, _notes_top(summary), slab.title, slab.notes)
    return right


def _notes(canvas: Canvas, x: float, y: float, title: str, notes: tuple[str, ...]) -> None:
    canvas.text(x, y, title, size_pt=9.5, bold=True)
    for line, note in enumerate(notes, start=1):
        if note:
            canvas.text(x, y - line * LINE, note, size_pt=8.5, colour=MUTED)


def _tower(
    canvas: Canvas, summary: Summary, head: Head, features: list[Slab], scores: list[Slab]
) -> float:
    """Draw the network at scale 1, left to right; return the x of its end."""
    x, right = 0.0, 0.0
    for index, slab in enumerate(features):
        if index:
            x += (slab.step + features[index - 1].step) / 2
        before = right
        right = _labelled(canvas, summary, slab, x)
        if index:
            canvas.line([(before + 0.05, 0), (2 * x - right - 0.03, 0)], arrow=True)
    right = _branches(canvas, summary, head, right)
    for slab in scores:
        x = right + 0.75
        before = right
        right = _labelled(canvas, summary, slab, x)
        canvas.line([(before + 0.04, 0), (2 * x - right - 0.03, 0)], arrow=True)
    return right + 0.05


def _branches(canvas: Canvas, summary: Summary, head: Head, start: float) -> float:
    """Draw the branches above each other, and their sum; return the x of its end."""
    count = len(head.branches)
    left = start + _gap(head)
    node = left + BRANCH_WIDTH + 0.6
    rates = [block.dilation for block in head.branches]
    for index, block in enumerate(head.branches):
        y = ((count - 1) / 2 - index) * (BRANCH_HEIGHT + BRANCH_GAP)
        canvas.line([(start + 0.05, 0), (left, y)], arrow=True)
        _branch(canvas, block, left, y, max(rates))
        if count > 1:
            length = math.hypot(0.6, y)
            end = (node - 0.6 * NODE / length, y * NODE / length)
            canvas.line([(left + BRANCH_WIDTH, y), end], arrow=True)
    below = min(_notes_top(summary), -count * (BRANCH_HEIGHT + BRANCH_GAP) / 2 - 0.22)
    is_pointwise = summary.head == "conv1x1"
    notes = (shape(head.branches[0].output),)
    if count > 1:
        notes = ("each " + notes[0],)
    title = "classifier" if is_pointwise else HEADS[summary.head]
    _notes(canvas, left + BRANCH_WIDTH / 2, below, title, notes)
    if count == 1:
        return left + BRANCH_WIDTH
    canvas.circle((node, 0), NODE, fill=PAPER)
    canvas.text(node, 0, "cat" if head.is_concatenated else "+", size_pt=9, bold=True)
    return node + NODE


def _branch(canvas: Canvas, block: Block, left: float, y: float, widest: int) -> None:
    """Draw a branch: its kernel taps at distances in proportion to the rate, and its name."""
    canvas.box(left, y - BRANCH_HEIGHT / 2, BRANCH_WIDTH, BRANCH_HEIGHT, fill=BRANCH_FILL)
    x = left + BRANCH_HEIGHT / 2
    edge = BRANCH_HEIGHT - 0.1
    canvas.box(x - edge / 2, y - edge / 2, edge, edge, fill=PAPER, width_pt=0.5)
    is_pooling = block.kind == "ImagePooling"
    is_atrous = any("3x3" in layer.kind for layer in block.layers)
    if is_pooling:
        canvas.box(x - edge / 3, y - edge / 3, edge / 1.5, edge / 1.5, fill=INK)
    apart = (0.05 + 0.12 * block.dilation / max(widest, 1)) if is_atrous else 0.0
    for row in (-1, 0, 1) if is_atrous else () if is_pooling else (0,):
        for column in (-1, 0, 1) if is_atrous else (0,):
            canvas.circle((x + column * apart, y + row * apart), 0.024, fill=INK)
    name = words(block.kind)
    at = left + BRANCH_HEIGHT + 0.04
    if is_atrous:
        canvas.text(at, y + 0.1, name, size_pt=8.5, align="left")
        canvas.text(at, y - 0.1, f"rate {block.dilation}", size_pt=9, align="left", bold=True)
    else:
        canvas.text(at, y, name, size_pt=8.5, align="left")


def _notes_top(summary: Summary) -> float:
    return -_extent(summary, summary.size_hw, 1) - 0.17


def _tower_bottom(summary: Summary, head: Head) -> float:
    """Return the lowest y of the network at scale 1 and its notes."""
    stack = -len(head.branches) * (BRANCH_HEIGHT + BRANCH_GAP) / 2 - 0.22 - LINE
    return min(_notes_top(summary) - 3 * LINE, stack) - 0.1


def _small_tower(
    canvas: Canvas,
    summary: Summary,
    head: Head,
    scale: Scale,
    features: list[Slab],
    *,
    node: float,
    y: float,
) -> None:
    """Draw the network at another scale, up to the node of the maximum."""
    x, right = 0.0, 0.0
    for index, slab in enumerate(features):
        if index:
            x += (slab.step + features[index - 1].step) / 2
        before = right
        right = _slab(canvas, summary, slab, x, y, scale.scale)
        if index:
            canvas.line([(before + 0.05, y), (2 * x - right - 0.03, y)], arrow=True)
    below = y - _extent(summary, summary.size_hw, scale.scale) - 0.15
    canvas.text(0, below, f"scale {scale.scale:g}", size_pt=9.5, bold=True)
    canvas.text(0, below - LINE, shape((3, *scale.size_hw)), size_pt=8.5, colour=MUTED)
    left = x + _half_width(summary, features[-1].output, 1) + _gap(head)
    canvas.line([(right + 0.05, y), (left, y)], arrow=True)
    canvas.box(left, y - 0.2, BRANCH_WIDTH, 0.4, fill=BRANCH_FILL, dashed=True)
    canvas.text(left + BRANCH_WIDTH / 2, y, "same weights", size_pt=8.5)
    output = (summary.num_classes, *scale.scores_hw)
    x = node - 0.75 - 0.2
    end = _slab(canvas, summary, Slab(output, MAP_FILL, ""), x, y, 1)
    canvas.line([(left + BRANCH_WIDTH, y), (2 * x - end - 0.03, y)], arrow=True)
    canvas.text(x, below, shape(output), size_pt=8.5, colour=MUTED)
    canvas.line([(end + 0.05, y), (node, y), (node, -NODE)], arrow=True)
    size = "×".join(map(str, summary.scales[0].scores_hw))
    canvas.text(node + 0.08, y, f"resize to {size}", size_pt=8.5, align="left", colour=MUTED)


def _upsampling(canvas: Canvas, summary: Summary, start: float) -> None:
    output = (summary.num_classes, *summary.size_hw)
    x = start + 1.75
    end = _slab(canvas, summary, Slab(output, MAP_FILL, ""), x, 0, 1)
    _notes(canvas, x, _notes_top(summary), "scores per pixel", ("upsampled", shape(output)))
    canvas.line([(start + 0.04, 0), (2 * x - end - 0.03, 0)], arrow=True)
    is_learned = summary.upsampling == "transposed"
    name = "learned" if is_learned else "bilinear"
    canvas.text(start + 0.65, 0.13, f"{name} ×{summary.output_stride}", size_pt=8.5)
