"""Joint augmentation of image and labels, as DeepLab trains: scale, pad, crop, mirror."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..labels import IGNORE_INDEX
from ..preprocess import Preprocess
from ..resize import resize_image, resize_labels

CAFFE_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)


@dataclass(frozen=True)
class TrainTransform:
    """Random scale, padding, crop and mirror image, then normalisation.

    Attributes:
        preprocess: Channel order, mean and std; its padding rule is not used here.
        crop_hw: Rows and columns of the output.
        scales: One is drawn for each sample.
        mirror: Whether half of the samples are mirrored.
        align_corners: Resize convention of the network.
    """

    preprocess: Preprocess
    crop_hw: tuple[int, int] = (321, 321)
    scales: tuple[float, ...] = CAFFE_SCALES
    mirror: bool = True
    align_corners: bool = True

    def __call__(
        self, image: NDArray[np.uint8], labels: NDArray[Any], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augment one sample.

        Args:
            image: (H, W, 3) uint8 RGB.
            labels: (H, W) class indices, 255 unknown.
            rng: Draws scale, crop position and mirroring, in this order.

        Returns:
            (3, h, w) float32 image and (h, w) int64 labels of size `crop_hw`. A scaled image that
            is smaller is padded at the bottom and right: the image with the mean, the labels with
            255.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        classes = torch.from_numpy(labels.astype(np.int64))[None]
        scale = self.scales[int(rng.integers(len(self.scales)))]
        size_hw = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
        pixels = resize_image(pixels, size_hw, align_corners=self.align_corners)[0]
        classes = resize_labels(classes, size_hw, align_corners=self.align_corners)[0]

        rows, columns = self.crop_hw
        top = int(rng.integers(max(0, size_hw[0] - rows) + 1))
        left = int(rng.integers(max(0, size_hw[1] - columns) + 1))
        window = (slice(top, top + rows), slice(left, left + columns))
        is_mirrored = self.mirror and rng.random() < 0.5
        return self._cut(pixels, classes, window, is_mirrored=is_mirrored)

    def _cut(
        self, pixels: Tensor, classes: Tensor, window: tuple[slice, slice], *, is_mirrored: bool
    ) -> tuple[Tensor, Tensor]:
        cut = pixels[:, window[0], window[1]].permute(1, 2, 0)
        normalised = self.preprocess.normalise(cut.contiguous().numpy())
        height, width = normalised.shape[1:]
        image = torch.zeros(3, *self.crop_hw)  # 0 is the mean after normalisation
        labels = torch.full(self.crop_hw, IGNORE_INDEX, dtype=torch.int64)
        image[:, :height, :width] = normalised
        labels[:height, :width] = classes[window]
        if is_mirrored:
            image, labels = image.flip(2), labels.flip(1)
        return image, labels
