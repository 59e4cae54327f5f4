"""Draw labels: as colours, as an overlay on the image, with a legend of the classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .errors import InputError
from .image_io import check_labels, colour_table
from .labels import LabelSet

PAPER = (255, 255, 255)
INK = (36, 41, 47)
FAINT_INK = (110, 118, 126)
ALPHA = 0.55


def colourise(labels: NDArray[Any], label_set: LabelSet) -> NDArray[np.uint8]:
    """Replace class indices by the colours of the classes.

    Args:
        labels: (H, W) integer; classes or the ignored index.
        label_set: Names and colours.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: If `labels` is no map of this label set.
    """
    check_labels(labels, label_set)
    return colour_table(label_set)[labels]


def overlay(
    image: NDArray[np.uint8],
    labels: NDArray[Any],
    label_set: LabelSet,
    *,
    alpha: float = ALPHA,
    legend: bool = True,
) -> Image.Image:
    """Draw the class colours over an image, with outlines and a legend.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) integer; classes or the ignored index, whose pixels stay unchanged.
        label_set: Names and colours.
        alpha: Opacity of the colours, from 0 to 1.
        legend: Whether to add a legend of the classes and their share of the pixels below. The
            result is wider than the image if a class name needs the room.

    Returns:
        RGB image; without a legend, of the size of `image`.

    Raises:
        InputError: If `labels` is no map of this label set, sizes differ, or `alpha` is no share.
    """
    check_labels(labels, label_set)
    if image.dtype != np.uint8 or image.shape != (*labels.shape, 3):
        raise InputError(
            f"image is {image.dtype} of shape {image.shape} but labels are {labels.shape}; give a "
            "uint8 RGB image (H, W, 3) of the labels' size"
        )
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}; it must be from 0 to 1")
    blended = Image.fromarray(_blend(image, labels, label_set, alpha))
    if not legend:
        return blended
    size_px = _font_size(blended.size)
    return _stack([blended, draw_legend(labels, label_set, width=blended.width, size_px=size_px)])


def draw_legend(
    labels: NDArray[Any], label_set: LabelSet, *, width: int, size_px: int
) -> Image.Image:
    """Draw a legend: the classes in `labels`, largest first, with their share of the pixels.

    Args:
        labels: (H, W) integer; classes or the ignored index.
        label_set: Names and colours.
        width: Width of the legend in pixels; exceeded if a single entry is wider.
        size_px: Font size.
    """
    font = ImageFont.load_default(size_px)
    colours = colour_table(label_set)
    entries = [
        (class_name(index, label_set), percent(share), tuple(colours[index].tolist()))
        for index, share in class_shares(labels)
    ]
    swatch, gap, line = round(1.1 * size_px), round(0.5 * size_px), round(1.75 * size_px)
    widths = [
        round(swatch + 2 * gap + font.getlength(name) + font.getlength(share))
        for name, share, _ in entries
    ]
    spacing = round(1.6 * size_px)
    rows = _fewest_rows(widths, spacing, width - 2 * gap)
    columns = [max(widths[i : i + rows]) for i in range(0, len(widths), rows)]
    used = sum(columns) + spacing * (len(columns) - 1) + 2 * gap
    canvas = Image.new("RGB", (max(width, used), rows * line + 2 * gap), PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, (name, share, colour) in enumerate(entries):
        column, row = divmod(index, rows)
        x = gap + sum(columns[:column]) + spacing * column
        y = gap + row * line + line // 2
        box = (x, y - swatch // 2, x + swatch, y - swatch // 2 + swatch)
        draw.rounded_rectangle(box, swatch // 5, colour, FAINT_INK, max(1, size_px // 16))
        draw.text((x + swatch + gap, y), name, INK, font, "lm")
        draw.text((x + columns[column], y), share, FAINT_INK, font, "rm")
    return canvas


def _fewest_rows(widths: list[int], spacing: int, width: int) -> int:
    """Return the smallest number of rows whose columns fit into the width."""
    for rows in range(1, len(widths)):
        columns = [max(widths[i : i + rows]) for i in range(0, len(widths), rows)]
        if sum(columns) + spacing * (len(columns) - 1) <= width:
            return rows
    return len(widths)


def compare(
    image: NDArray[np.uint8],
    label_maps: Mapping[str, NDArray[Any]],
    label_set: LabelSet,
    *,
    alpha: float = ALPHA,
) -> Image.Image:
    """Draw an image and its label maps side by side, with captions and one legend.

    Args:
        image: (H, W, 3) uint8 RGB.
        label_maps: Caption -> (H, W) integer, left to right; the legend is that of the last map.
        label_set: Names and colours.
        alpha: As in `overlay`.

    Raises:
        InputError: As `overlay`, or if there is no label map.
    """
    if not label_maps:
        raise InputError("there is no label map to compare; give at least one")
    images = {"photo": Image.fromarray(image)} | {
        caption: overlay(image, labels, label_set, alpha=alpha, legend=False)
        for caption, labels in label_maps.items()
    }
    gap = max(4, image.shape[1] // 80)
    # About 64 letters fit across, so that captions stay readable when a page scales the strip down.
    size_px = max(12, (image.shape[1] + gap) * len(images) // 64)
    panels = [_captioned(panel, text, size_px) for text, panel in images.items()]
    step = max(panel.width for panel in panels) + gap
    strip = Image.new("RGB", (step * len(panels) - gap, panels[0].height), PAPER)
    for index, panel in enumerate(panels):
        strip.paste(panel, (index * step, 0))
    last = list(label_maps.values())[-1]
    return _stack([strip, draw_legend(last, label_set, width=strip.width, size_px=size_px)])


def class_shares(labels: NDArray[Any]) -> list[tuple[int, float]]:
    """Return (index, share of the pixels in 0..1) of each label in the map, largest first."""
    counts = np.bincount(labels.astype(np.int64).ravel())
    present = sorted(np.flatnonzero(counts).tolist(), key=lambda index: -counts[index])
    return [(index, float(counts[index] / labels.size)) for index in present]


def class_name(index: int, label_set: LabelSet) -> str:
    """Return the name of a label; that of the ignored index is `ignored`."""
    return label_set.names[index] if index < label_set.num_classes else "ignored"


def percent(share: float) -> str:
    """Format a share of 0..1: `41 %`, `3.2 %`, `<0.1 %`."""
    if share < 0.001:
        return "<0.1 %"
    return f"{100 * share:.{1 if share < 0.0995 else 0}f} %"


def _blend(
    image: NDArray[np.uint8], labels: NDArray[Any], label_set: LabelSet, alpha: float
) -> NDArray[np.uint8]:
    """Blend image and colours; pixels where a class begins are darkened, as outlines."""
    colours = colour_table(label_set)
    weight = np.full(len(colours), round(alpha * 256), np.uint16)
    if label_set.ignore_index is not None:
        weight[label_set.ignore_index] = 0
    share = weight[labels][..., None]
    mixed = ((image * (256 - share) + colours[labels] * share + 128) >> 8).astype(np.uint8)
    if alpha:
        mixed[_outlines(labels)] //= 2
    return mixed


def _outlines(labels: NDArray[Any]) -> NDArray[np.bool_]:
    outlines = np.zeros(labels.shape, np.bool_)
    outlines[1:] |= labels[1:] != labels[:-1]
    outlines[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    return outlines


def _font_size(size: tuple[int, int]) -> int:
    """Font size that stays readable when the image is shown at the width of a page."""
    return max(12, round((size[0] * size[1]) ** 0.5 / 34))


def _captioned(image: Image.Image, text: str, size_px: int) -> Image.Image:
    font = ImageFont.load_default(size_px)
    width = max(image.width, round(font.getlength(text)))
    panel = Image.new("RGB", (width, image.height + 2 * size_px), PAPER)
    ImageDraw.Draw(panel).text((0, size_px), text, INK, font, "lm")
    panel.paste(image, (0, 2 * size_px))
    return panel


def _stack(images: list[Image.Image]) -> Image.Image:
    width = max(image.width for image in images)
    canvas = Image.new("RGB", (width, sum(image.height for image in images)), PAPER)
    y = 0
    for image in images:
        canvas.paste(image, (0, y))
        y += image.height
    return canvas
