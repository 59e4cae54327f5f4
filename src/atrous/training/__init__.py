"""Training from a recipe: `train`, `Recipe` and `load_recipe`."""

from .recipe import Recipe, load_recipe
from .run import train

__all__ = ["Recipe", "load_recipe", "train"]
