"""Weights files: the catalogue, reading and writing, and loading them into a network."""

from .catalog import Entry, list_weights
from .checkpoint import read_weights, save_weights
from .load import load_model

__all__ = ["Entry", "list_weights", "load_model", "read_weights", "save_weights"]
