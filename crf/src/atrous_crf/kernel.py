"""Load the compiled kernel, or say how to install it; and the limits of what it can compute."""

from __future__ import annotations

import sys
from typing import Any

from .errors import InputError, MissingPackageError

try:
    from ._native import MeanField, expand, max_threads, ranges, release_memory
except ImportError as error:
    raise MissingPackageError(
        f"the compiled kernel of atrous_crf cannot be loaded ({error}); in a checkout of atrous, "
        "build it with `pip install ./crf` (needs a C++17 compiler)"
    ) from error

__all__ = [
    "MeanField",
    "check_reach",
    "choose_threads",
    "expand",
    "max_threads",
    "ranges",
    "release_memory",
]

# Beyond this, float32 cannot tell positions in the lattice apart.
MAX_REACH = 100_000
MOST_THREADS = 4096


def check_reach(name: str, width: float, farthest: float) -> None:
    """Refuse a width that is so small that the lattice cannot tell positions apart.

    Args:
        name: Name of the width in the message.
        width: In units of the feature.
        farthest: Largest absolute value of the feature.

    Raises:
        InputError: If `farthest` is more than 100,000 widths.
    """
    if farthest > MAX_REACH * width:
        raise InputError(
            f"{name} is {width:g}, too small for values up to {farthest:g}: values can be at most "
            f"{MAX_REACH:,} widths; use {farthest / MAX_REACH:g} or more"
        )


def choose_threads(threads: int | None) -> int:
    """Return the number of threads to use: `threads`, or all cores if it is None.

    In a worker process of multiprocessing, None means 1, because each of the processes would
    start a thread per core.
    """
    if threads is not None:
        return threads
    process: Any = sys.modules.get("multiprocessing.process")
    in_worker = process is not None and process.parent_process() is not None
    return 1 if in_worker else min(max_threads(), MOST_THREADS)
