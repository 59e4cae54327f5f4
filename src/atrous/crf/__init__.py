"""The dense CRF under its name in atrous: everything here is an object of `atrous_crf`.

Names are resolved on first use, so that this module loads neither numpy, torch nor the kernel.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atrous_crf import CRFLayer, CRFParams, DenseCRF, install_as_pydensecrf

    from . import kernel, pydensecrf

__all__ = [
    "CRFLayer",
    "CRFParams",
    "DenseCRF",
    "install_as_pydensecrf",
    "kernel",
    "pydensecrf",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module("atrous_crf"), name)
    globals()[name] = value  # the next use is an ordinary look-up
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
