"""Say and show what a network is: a table of its layers, a picture of its architecture."""

from .canvas import checked_suffix
from .picture import draw
from .summary import Block, Layer, Summary, summarise
from .trace import Scale

__all__ = ["Block", "Layer", "Scale", "Summary", "checked_suffix", "draw", "summarise"]
