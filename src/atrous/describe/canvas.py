"""Drawing primitives for network diagrams, on matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..atomic_file import open_atomically
from ..errors import InputError, MissingPackageError

INK = "#1f2933"
MUTED = "#66737f"
PAPER = "#ffffff"
FORMATS = (".svg", ".png", ".pdf")
PIXELS_PER_INCH = 160

Point = tuple[float, float]


class Canvas:
    """A sheet in inches, y upwards, that grows with its content."""

    def __init__(self) -> None:
        try:
            import matplotlib as mpl
            from matplotlib import patches
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingPackageError(
                "drawing needs matplotlib, which is not installed; pip install 'atrous[plot]'"
            ) from error
        self._matplotlib = mpl
        self._patches = patches
        self._figure = Figure(facecolor=PAPER)
        self._axes = self._figure.add_axes((0, 0, 1, 1))
        self._axes.set_axis_off()
        self._drawn = 0
        self._left = self._bottom = float("inf")
        self._right = self._top = -float("inf")

    def polygon(
        self, points: Sequence[Point], *, fill: str, edge: str = INK, width_pt: float = 0.8
    ) -> None:
        self._cover(*points)
        self._axes.add_patch(
            self._patches.Polygon(
                points, facecolor=fill, edgecolor=edge, linewidth=width_pt, zorder=self._next()
            )
        )

    def box(
        self,
        left: float,
        bottom: float,
        width: float,
        height: float,
        *,
        fill: str,
        edge: str = INK,
        width_pt: float = 0.8,
        dashed: bool = False,
    ) -> None:
        """Draw a rectangle with round corners."""
        self._cover((left, bottom), (left + width, bottom + height))
        radius = min(0.06, height / 3, width / 3)
        self._axes.add_patch(
            self._patches.FancyBboxPatch(
                (left + radius, bottom + radius),
                width - 2 * radius,
                height - 2 * radius,
                boxstyle=f"round,pad={radius},rounding_size={radius}",
                facecolor=fill,
                edgecolor=edge,
                linewidth=width_pt,
                linestyle="--" if dashed else "-",
                zorder=self._next(),
            )
        )

    def circle(self, centre: Point, radius: float, *, fill: str, edge: str = INK) -> None:
        x, y = centre
        self._cover((x - radius, y - radius), (x + radius, y + radius))
        self._axes.add_patch(
            self._patches.Circle(
                centre,
                radius,
                facecolor=fill,
                edgecolor=edge,
                linewidth=0.8,
                zorder=self._next(),
            )
        )

    def line(self, points: Sequence[Point], *, colour: str = INK, arrow: bool = False) -> None:
        """Draw a line through points, optionally ending in an arrow head."""
        self._cover(*points)
        xs, ys = zip(*points, strict=True)
        above = self._next()
        self._axes.plot(xs, ys, color=colour, linewidth=1.1, solid_joinstyle="round", zorder=above)
        if arrow:
            self._axes.annotate(
                "",
                xy=points[-1],
                xytext=points[-2],
                zorder=above,
                arrowprops={
                    "arrowstyle": "-|>,head_length=0.35,head_width=0.16",
                    "color": colour,
                    "linewidth": 1.1,
                    "shrinkA": 0,
                    "shrinkB": 0,
                },
            )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size_pt: float = 9,
        colour: str = INK,
        align: str = "center",
        bold: bool = False,
        turned: bool = False,
    ) -> None:
        """Write one line of text, centred vertically at y."""
        long = 0.0082 * size_pt * len(text)  # approximate width in DejaVu Sans, in inches
        tall = 0.014 * size_pt
        if turned:
            self._cover((x - tall / 2, y - long / 2), (x + tall / 2, y + long / 2))
        else:
            start = x - {"left": 0.0, "center": long / 2, "right": long}[align]
            self._cover((start, y - tall / 2), (start + long, y + tall / 2))
        self._axes.text(
            x,
            y,
            text,
            fontsize=size_pt,
            color=colour,
            ha=align,
            va="center",
            fontweight="bold" if bold else "normal",
            rotation=90 if turned else 0,
            family="DejaVu Sans",
            zorder=self._next(),
        )

    def save(self, path: Path, *, margin: float = 0.15) -> None:
        """Save the sheet atomically.

        Raises:
            InputError: If the suffix is not one of `FORMATS`.
            OSError: If the file cannot be written.
        """
        suffix = checked_suffix(path)
        left, right = self._left - margin, self._right + margin
        bottom, top = self._bottom - margin, self._top + margin
        self._figure.set_size_inches(right - left, top - bottom)
        self._axes.set_xlim(left, right)
        self._axes.set_ylim(bottom, top)
        # No date and no random names, so that equal networks give equal files.
        dates: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        with (
            open_atomically(path) as file,
            self._matplotlib.rc_context({"svg.hashsalt": "atrous"}),
        ):
            self._figure.savefig(
                file,
                format=suffix[1:],
                dpi=PIXELS_PER_INCH,
                facecolor=PAPER,
                metadata=dates.get(suffix),
            )

    def _next(self) -> int:
        """Return the next z-order, so that each shape is above the earlier ones."""
        self._drawn += 1
        return self._drawn

    def _cover(self, *points: Point) -> None:
        for x, y in points:
            self._left, self._right = min(self._left, x), max(self._right, x)
            self._bottom, self._top = min(self._bottom, y), max(self._top, y)


def checked_suffix(path: Path) -> str:
    """Return the suffix of a path, which selects the file format.

    Raises:
        InputError: If the suffix is not one of `FORMATS`.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path.name} does not end in {', '.join(FORMATS)}: name the format so")
    return suffix
