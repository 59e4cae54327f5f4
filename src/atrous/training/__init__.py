"""Training: recipes, losses, the loop."""

from .recipe import Recipe, load_recipe
from .run import train

__all__ = ["Recipe", "load_recipe", "train"]
