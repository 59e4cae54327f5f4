"""Draw a network from its summary: block by block, or layer by layer."""

from __future__ import annotations

from pathlib import Path

from .block_view import draw_blocks
from .canvas import Canvas, checked_suffix
from .layer_view import draw_layers
from .summary import Summary


def draw(summary: Summary, path: str | Path, *, layers: bool = False) -> None:
    """Draw the architecture of a network.

    Args:
        summary: Result of `summarise`.
        path: The file to write; its suffix .svg, .png or .pdf selects the format.
        layers: Whether to draw a box per convolution instead of one per stage.

    Raises:
        InputError: If the suffix is none of these.
        MissingPackageError: If matplotlib is not installed (`pip install 'atrous[plot]'`).
        OSError: If the file cannot be written; an existing file stays.
    """
    path = Path(path)
    checked_suffix(path)
    canvas = Canvas()
    (draw_layers if layers else draw_blocks)(canvas, summary)
    canvas.save(path)
