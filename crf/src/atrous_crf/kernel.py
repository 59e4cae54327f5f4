"""Load the compiled kernel, or say how to install it; and the limits of what it can compute."""

from __future__ import annotations

import sys
from typing import Any

from .errors import InputError, MissingPackageError

try:
    from ._native import MeanField, expand, max_threads, ranges, release_memory
except ImportError as error:
    raise MissingPackageError(
        f"the compiled kernel of atrous_crf cannot be loaded ({error}); install a wheel with "
        "`pip install atrous-crf`, or, in a checkout of atrous, build it with `pip install ./crf` "
        "(needs a C++17 compiler)"
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

# float32 positions within the lattice are meaningless further out.
MAX_REACH = 100_000
MOST_THREADS = 4096


def check_reach(name: str, width: float, farthest: float) -> None:
    """Refuse a width so small that the lattice cannot tell positions apart.

    Args:
        name: What the caller calls the width.
        width: In units of the feature.
        farthest: Largest absolute value of the feature.

    Raises:
        InputError: If the feature reaches more than 100,000 widths from its origin.
    """
    if farthest > MAX_REACH * width:
        raise InputError(
            f"{name} is {width:g}, too small for values up to {farthest:g}: at most {MAX_REACH:,} "
            f"widths are possible; use {farthest / MAX_REACH:g} or more"
        )


def choose_threads(threads: int | None) -> int:
    """Return the number of threads to use: all, but one in a worker process of multiprocessing.

    There each of many processes would start a thread for every core.
    """
    if threads is not None:
        return threads
    process: Any = sys.modules.get("multiprocessing.process")
    in_worker = process is not None and process.parent_process() is not None
    return 1 if in_worker else min(max_threads(), MOST_THREADS)
