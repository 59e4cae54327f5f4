"""Summarise and draw networks and their score curves."""

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
