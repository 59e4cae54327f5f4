"""Networks: backbones, heads, and `create_model`, which combines them."""

from ..network_options import NetworkOptions, check_scales
from .deeplab import DeepLab
from .zoo import build_network, create_model, list_models

__all__ = [
    "DeepLab",
    "NetworkOptions",
    "build_network",
    "check_scales",
    "create_model",
    "list_models",
]
