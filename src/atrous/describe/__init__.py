"""Say and show what a network is, and how it scores: layers, architecture, curves."""

from .canvas import checked_suffix
from .curves import draw_trimap
from .picture import draw
from .summary import Block, Layer, Summary, summarise
from .trace import Scale

__all__ = [
    "Block",
    "Layer",
    "Scale",
    "Summary",
    "checked_suffix",
    "draw",
    "draw_trimap",
    "summarise",
]
