"""The dense CRF as a hop of the river: whether it runs, and with which parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..weights import Entry

if TYPE_CHECKING:
    from ..crf import DenseCRF


def choose_crf(choice: Any, entry: Entry) -> tuple[DenseCRF | None, str]:
    """Decide on the CRF.

    Args:
        choice: None for what the weights entry says; True, False or a CRFParams override it. True
            takes the entry's parameters, or the paper's where it has none.
        entry: The weights' entry.

    Returns:
        The CRF or None, and one line for people: whether it runs and why.

    Raises:
        InputError: If `choice` is something else.
        MissingPackageError: If the CRF is to run but its compiled kernel is missing; says how to
            build it.
    """
    if choice is False:
        return None, "off (switched off)"
    if choice is None and not entry.use_crf:
        return None, f"off (as the entry of {entry.name} says)"
    from ..crf import CRFParams, DenseCRF  # the first need of the compiled kernel

    if choice is None or choice is True:
        choice = entry.crf or CRFParams()  # without published ones, the paper's
    elif not isinstance(choice, CRFParams):
        raise InputError(f"crf is {choice!r}; it must be None, True, False or a CRFParams")
    return DenseCRF(choice), f"on ({choice})"
