"""Plot mean IoU against the width of the trimap band."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..atomic_file import open_atomically
from ..errors import InputError, MissingPackageError
from .canvas import INK, MUTED, PAPER, PIXELS_PER_INCH, checked_suffix

# Colours of Okabe and Ito, which colour-blind readers can tell apart; their yellow is too pale.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
MARKS = "osD^vPX"


def draw_trimap(
    curves: Mapping[str, Mapping[int, float]], path: str | Path, *, title: str = ""
) -> None:
    """Draw mean IoU in bands around boundaries, one curve per variant.

    Args:
        curves: Variant -> (width of the band in pixels -> mean IoU, 0..1), as `Report.trimap`.
        path: The file to write; its suffix .svg, .png or .pdf selects the format.
        title: Title of the figure.

    Raises:
        InputError: If the suffix is none of these, or there is no curve.
        MissingPackageError: If matplotlib is not installed (`pip install 'atrous[plot]'`).
        OSError: If the file cannot be written; an existing file stays.

    Source: DeepLab v2's Figure 10.
    """
    path = Path(path)
    suffix = checked_suffix(path)
    if not curves:
        raise InputError("there is no curve to draw; give at least one report's trimap")
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            "drawing needs matplotlib, which is not installed; pip install 'atrous[plot]'"
        ) from error
    figure = Figure(figsize=(6.4, 4.4), layout="constrained", facecolor=PAPER)
    axes = figure.add_subplot()
    for index, (name, curve) in enumerate(curves.items()):
        axes.plot(
            list(curve),
            [100 * value for value in curve.values()],
            label=name,
            color=COLOURS[index % len(COLOURS)],
            marker=MARKS[index % len(MARKS)],
            # Lines are dashed when the colours repeat.
            linestyle="-" if index < len(COLOURS) else "--",
            markersize=4,
            linewidth=1.4,
        )
    axes.set_xlabel("width of the band around true boundaries (pixels)", color=INK)
    axes.set_ylabel("mean IoU in the band (%)", color=INK)
    axes.set_title(title, color=INK, fontsize="medium")
    axes.tick_params(colors=MUTED)
    axes.grid(color="#dde3e8", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    with open_atomically(path) as file, mpl.rc_context({"svg.hashsalt": "atrous"}):
        figure.savefig(file, format=suffix[1:], dpi=PIXELS_PER_INCH)
