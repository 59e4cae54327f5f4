"""Errors with a cause outside the code: wrong input, missing packages.

Each is also the built-in error that means the same, so `except ValueError` catches an `InputError`.
"""

from __future__ import annotations

__all__ = ["AtrousError", "InputError", "MissingPackageError"]


class AtrousError(Exception):
    """Base class of every error that atrous raises for a cause outside its code."""


class InputError(AtrousError, ValueError):
    """An argument, option or value cannot be used."""


class MissingPackageError(AtrousError, ImportError):
    """A package is not installed, not compiled, or another one has its name."""
