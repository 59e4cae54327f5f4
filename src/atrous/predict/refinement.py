"""The dense CRF as a hop of the river: whether it runs, with which parameters, and why not."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..weights import Entry

MODULE = "atrous.crf"


class Refiner(Protocol):
    """What the pipeline needs of a dense CRF."""

    def refine(
        self, probabilities: NDArray[np.float32], image: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """(K, H, W) probabilities and the (H, W, 3) photo -> (K, H, W), sharper."""
        ...


def has_crf() -> bool:
    """Say whether this version of the package has a dense CRF."""
    return importlib.util.find_spec(MODULE) is not None


def choose_crf(choice: Any, entry: Entry) -> tuple[Refiner | None, str]:
    """Decide on the CRF.

    Args:
        choice: None for what the weights entry says; True, False or a CRFParams override it.
        entry: The weights' entry.

    Returns:
        The CRF or None, and one line for people: whether it runs and why.

    Raises:
        ValueError: If it is asked for but not part of this version, the entry has no parameters for
            it, or `choice` is something else.
    """
    if choice is False:
        return None, "off (switched off)"
    if not has_crf():
        if choice is None:
            return None, "off (this version of atrous has no dense CRF)"
        raise ValueError("this version of atrous has no dense CRF; leave crf=None or False")
    if choice is None and not entry.use_crf:
        return None, f"off (as the entry of {entry.name} says)"
    crf: Any = importlib.import_module(MODULE)
    if choice is None or choice is True:
        if entry.crf is None:
            raise ValueError(f"the entry of {entry.name} has no CRF parameters; pass a CRFParams")
        choice = crf.CRFParams(**entry.crf)
    elif not isinstance(choice, crf.CRFParams):
        raise ValueError(f"crf is {choice!r}; it must be None, True, False or a CRFParams")
    return crf.DenseCRF(choice), f"on ({choice})"
