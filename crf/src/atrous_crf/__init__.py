"""The dense CRF: `DenseCRF` for arrays and tensors, `CRFLayer` for training, and `pydensecrf`.

Names are resolved on first use. `CRFParams` and the errors load neither numpy nor the compiled
kernel, `DenseCRF` and `pydensecrf` load no torch, and `CRFLayer` loads no compiled kernel.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import kernel, pydensecrf
    from .densecrf import DenseCRF
    from .errors import AtrousError, InputError, MissingPackageError
    from .params import CRFParams
    from .pydensecrf import install_as_pydensecrf
    from .torch_layer import CRFLayer

__version__ = "0.2.0"

__all__ = [
    "AtrousError",
    "CRFLayer",
    "CRFParams",
    "DenseCRF",
    "InputError",
    "MissingPackageError",
    "__version__",
    "install_as_pydensecrf",
    "kernel",
    "pydensecrf",
]

_HOMES = {
    "AtrousError": "errors",
    "CRFLayer": "torch_layer",
    "CRFParams": "params",
    "DenseCRF": "densecrf",
    "InputError": "errors",
    "MissingPackageError": "errors",
    "install_as_pydensecrf": "pydensecrf",
}
_MODULES = ("kernel", "pydensecrf")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_load(_HOMES[name]), name)
    globals()[name] = value  # the next use is an ordinary look-up
    return value


def _load(module: str) -> ModuleType:
    try:
        return importlib.import_module(f".{module}", __name__)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from .errors import MissingPackageError

        raise MissingPackageError(
            "CRFLayer needs torch, which is not installed: pip install torch"
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
