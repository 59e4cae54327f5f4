"""The end of every error about an unknown name: the similar names, or all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_SUGGESTIONS = 3
MIN_SIMILARITY = 0.5


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Continue an error message about an unknown name.

    Args:
        name: The name that came; anything, since wrong input need not be text.
        known: The names that exist.

    Returns:
        "; did you mean a or b?", or "; choose from a, b, c" where no name is similar.
    """
    known = list(known)
    similar = difflib.get_close_matches(str(name), known, MAX_SUGGESTIONS, MIN_SIMILARITY)
    if similar:
        return f"; did you mean {' or '.join(similar)}?"
    return f"; choose from {', '.join(known)}" if known else ""
