"""Searches a network's CRF parameters as the paper does, and measures whether the CRF helps."""

from .grid import PAPER, Grid
from .saving import save_tuned
from .search import tune
from .tuning import BAND_PX, Tuning
from .work import Progress

__all__ = ["BAND_PX", "PAPER", "Grid", "Progress", "Tuning", "save_tuned", "tune"]
