"""Errors with a cause outside the code: wrong input, missing packages, full devices.

`except atrous.AtrousError` catches all of them. Each is also the built-in error that says the same,
so that `except ValueError` works as well. The command line prints them on one line; any other
exception is a bug and shows its traceback.
"""

from __future__ import annotations


class AtrousError(Exception):
    """Base class of every error that atrous raises for a cause outside its code."""


class InputError(AtrousError, ValueError):
    """An argument, option or value cannot be used."""


class DataError(InputError):
    """An image, mask, score file or data set cannot be used."""


class WeightsError(InputError):
    """A weights file or its entry cannot be used."""


class TrainingError(AtrousError, FloatingPointError):
    """Training produced values that are not finite."""


class MissingPackageError(AtrousError, ImportError):
    """An optional package is needed and not installed."""


class OutOfMemoryError(AtrousError, MemoryError):
    """The device does not have the memory for this input."""


# Not bugs: reported on one line, and one failed image does not end a batch.
EXPECTED_ERRORS = (AtrousError, OSError, MemoryError)
