"""Find a network's CRF parameters by the paper's search, and say whether the CRF helps it."""

from .grid import PAPER, Grid
from .saving import save_tuned
from .search import tune
from .tuning import BAND_PX, Tuning
from .work import Progress

__all__ = ["BAND_PX", "PAPER", "Grid", "Progress", "Tuning", "save_tuned", "tune"]
