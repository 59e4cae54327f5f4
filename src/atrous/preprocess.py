"""`Preprocess`: converts a uint8 image to the tensor that the weights expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .errors import InputError

CAFFE_MEAN_BGR = (104.008, 116.669, 122.675)


@dataclass(frozen=True)
class Preprocess:
    """Normalisation and padding that the weights were trained with.

    Raises:
        InputError: If a value is not one of those allowed.
    """

    channel_order: Literal["rgb", "bgr"] = "bgr"
    """Order of the channels in the tensor."""
    mean: tuple[float, float, float] = CAFFE_MEAN_BGR
    """Subtracted from each channel, in grey levels 0-255, in `channel_order`."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Divides each channel, in grey levels."""
    padding: Literal["none", "mean_to_8k1"] = "mean_to_8k1"
    """`none`, or `mean_to_8k1`: pad bottom and right with the mean to the next 8k+1 rows and
    columns (32k+1 with several input scales), so that scores fall on every 8th pixel."""

    def __post_init__(self) -> None:
        if self.channel_order not in ("rgb", "bgr"):
            raise InputError(f"channel_order is {self.channel_order!r}; it must be 'rgb' or 'bgr'")
        if self.padding not in ("none", "mean_to_8k1"):
            raise InputError(f"padding is {self.padding!r}; it must be 'none' or 'mean_to_8k1'")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise InputError(
                f"mean is {self.mean} and std {self.std}; each must be three numbers, std above 0"
            )

    def __call__(self, image: NDArray[np.uint8], *, is_multiscale: bool = False) -> Tensor:
        """Normalise and pad one image.

        Args:
            image: (H, W, 3) uint8 RGB.
            is_multiscale: Whether the network runs several scales; pads to 32k+1 instead of 8k+1.

        Returns:
            (1, 3, H', W') float32.

        Raises:
            InputError: If `image` is not (H, W, 3) uint8.
        """
        tensor = self.normalise(image)[None]
        if self.padding == "none":
            return tensor
        step = 32 if is_multiscale else 8
        bottom, right = (-(n - 1) % step for n in tensor.shape[-2:])
        return F.pad(tensor, (0, right, 0, bottom))  # 0 is the mean after normalisation

    def normalise(self, image: NDArray[np.uint8]) -> Tensor:
        """Normalise one image without padding: (H, W, 3) uint8 RGB -> (3, H, W) float32."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(
                f"image is {image.dtype} of shape {image.shape}; give uint8 RGB of shape (H, W, 3)"
            )
        channels = image[..., ::-1] if self.channel_order == "bgr" else image
        pixels = channels.transpose(2, 0, 1).copy()  # torch warns about read-only memory
        mean = torch.tensor(self.mean).view(3, 1, 1)
        std = torch.tensor(self.std).view(3, 1, 1)
        return (torch.from_numpy(pixels).float() - mean) / std
