"""DeepLab v2: semantic segmentation with atrous convolution.

The public names are resolved on first use, so that `import atrous` loads neither torch nor Pillow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch_crf import refine_folder
    from .data import load_dataset
    from .errors import AtrousError, DataError, InputError, WeightsError
    from .evaluation import evaluate
    from .models import create_model, list_models
    from .predict import Segmentation, Segmenter
    from .training import train
    from .weights import list_weights, load_model
    from .weights.convert import convert_weights

__version__ = "0.2.0"

__all__ = [
    "AtrousError",
    "DataError",
    "InputError",
    "Segmentation",
    "Segmenter",
    "WeightsError",
    "__version__",
    "convert_weights",
    "create_model",
    "evaluate",
    "list_models",
    "list_weights",
    "load_dataset",
    "load_model",
    "refine_folder",
    "train",
]

_HOMES = {
    "AtrousError": "errors",
    "DataError": "errors",
    "InputError": "errors",
    "WeightsError": "errors",
    "Segmentation": "predict",
    "Segmenter": "predict",
    "convert_weights": "weights.convert",
    "create_model": "models",
    "evaluate": "evaluation",
    "list_models": "models",
    "list_weights": "weights",
    "load_dataset": "data",
    "load_model": "weights",
    "refine_folder": "batch_crf",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value  # the next use is an ordinary look-up
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
