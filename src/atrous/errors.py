"""Errors with a cause outside the code: wrong input, missing packages, full devices.

`except atrous.AtrousError` catches all of them. Each is also the built-in error that says the same,
so that `except ValueError` works as well. The command line prints them on one line; any other
exception is a bug and shows its traceback. The CRF's package holds the base classes, because it is
installed without this one as well.
"""

from __future__ import annotations

from atrous_crf.errors import AtrousError, InputError, MissingPackageError

__all__ = [
    "EXPECTED_ERRORS",
    "AtrousError",
    "DataError",
    "InputError",
    "MissingPackageError",
    "OutOfMemoryError",
    "TrainingError",
    "WeightsError",
]


class DataError(InputError):
    """An image, mask, score file or data set cannot be used."""


class WeightsError(InputError):
    """A weights file or its entry cannot be used."""


class TrainingError(AtrousError, FloatingPointError):
    """Training produced values that are not finite."""


class OutOfMemoryError(AtrousError, MemoryError):
    """The device does not have the memory for this input."""


# Not bugs: reported on one line, and one failed image does not end a batch.
EXPECTED_ERRORS = (AtrousError, OSError, MemoryError)
