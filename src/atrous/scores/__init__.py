"""Read class scores saved by any program as probabilities."""

from .files import SUFFIXES as SUFFIXES
from .files import read_scores as read_scores
from .probabilities import Scores as Scores
from .probabilities import from_labels as from_labels
