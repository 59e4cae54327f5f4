"""The dense CRF: `DenseCRF` for arrays and tensors, `CRFLayer` for training, and `pydensecrf`.

Names are resolved on first use: the arrays' path loads no torch, the layer no compiled kernel.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import pydensecrf
    from .densecrf import DenseCRF
    from .params import CRFParams
    from .pydensecrf import install_as_pydensecrf
    from .torch_layer import CRFLayer

__all__ = ["CRFLayer", "CRFParams", "DenseCRF", "install_as_pydensecrf", "pydensecrf"]

_HOMES = {
    "CRFLayer": "torch_layer",
    "CRFParams": "params",
    "DenseCRF": "densecrf",
    "install_as_pydensecrf": "pydensecrf",
}


def __getattr__(name: str) -> Any:
    if name == "pydensecrf":
        return importlib.import_module(".pydensecrf", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value  # the next use is an ordinary look-up
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
