"""A drop-in for pydensecrf: its modules `densecrf`, `utils` and `eigen` on this package's kernel.

`install_as_pydensecrf()` makes `import pydensecrf` find them; `python -m atrous_crf.pydensecrf
SCRIPT ...` runs an unchanged script so.
"""

from __future__ import annotations

import sys

from ..errors import MissingPackageError
from . import densecrf, eigen, utils

__all__ = ["densecrf", "eigen", "install_as_pydensecrf", "utils"]

NAME = "pydensecrf"


def install_as_pydensecrf() -> None:
    """Make `import pydensecrf`, `.densecrf`, `.utils` and `.eigen` find this package.

    Call it before the first import of `pydensecrf`. A second call does nothing.

    Raises:
        MissingPackageError: If another `pydensecrf` is already imported; says from which file.
    """
    package = sys.modules[__name__]
    modules = {
        NAME: package,
        f"{NAME}.densecrf": densecrf,
        f"{NAME}.eigen": eigen,
        f"{NAME}.utils": utils,
    }
    for name, module in modules.items():
        other = sys.modules.get(name, module)
        if other is not module:
            path = getattr(other, "__file__", None) or "an unknown file"
            raise MissingPackageError(
                f"{name} is already imported from {path}; call install_as_pydensecrf() before "
                "anything imports it, or uninstall it"
            )
    sys.modules.update(modules)
