"""Networks: backbones, heads, and `create_model` that puts them together."""

from .deeplab import DeepLab
from .zoo import Head, check_scales, create_model, list_models

__all__ = ["DeepLab", "Head", "check_scales", "create_model", "list_models"]
