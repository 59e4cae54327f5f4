"""Training: recipes, losses, the loop."""

from .config import TrainConfig, load_recipe
from .run import train

__all__ = ["TrainConfig", "load_recipe", "train"]
