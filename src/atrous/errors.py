"""Errors with a cause outside the code: wrong input, missing packages, full devices.

`except atrous.AtrousError` catches all of them. Each is also the built-in error that says the same,
so that `except ValueError` works as well. The command line prints them on one line; any other
exception is a bug and shows its traceback. The CRF's package holds the base classes, because it is
installed without this one as well.
"""

from __future__ import annotations

import os

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
    "one_line",
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


def one_line(error: BaseException) -> str:
    """Give an error's message on one line; an error of the system names its file first."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        line = f"{os.fsdecode(error.filename)}: {error.strerror}"
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            return f"{line}; a folder is needed there: move that file or choose another folder"
        return line
    return " ".join(str(error).split()) or type(error).__name__
