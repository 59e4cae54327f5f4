"""What a segmenter gives for one photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import visualize
from ..image_io import StrPath, write_labels
from ..labels import LabelSet


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels of one photo, and what can be made of them.

    Attributes:
        labels: (H, W) uint8, or uint16 over 256 classes; the size of the photo.
        image: (H, W, 3) uint8 RGB, the photo as it was read.
        label_set: What the labels mean.
        timings: Seconds of each hop in order, and their `total`; those of a batch are shared out.
    """

    labels: NDArray[Any]
    image: NDArray[np.uint8] = field(repr=False)
    label_set: LabelSet = field(repr=False)
    timings: dict[str, float]
    compute_probabilities: Callable[[], NDArray[np.float32]] = field(repr=False)

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """(K, H, W) float32; each pixel sums to 1.

        Made when first asked for, and kept from then on: until then a result holds the network's
        scores, which are 64 times smaller.
        """
        return self.compute_probabilities()

    def overlay(self, *, alpha: float = visualize.ALPHA, legend: bool = True) -> Image.Image:
        """Lay the labels over the photo, with a legend below it; see `visualize.overlay`."""
        return visualize.overlay(
            self.image, self.labels, self.label_set, alpha=alpha, legend=legend
        )

    def save(self, path: StrPath) -> None:
        """Write the labels as palette PNG; see `image_io.write_labels`."""
        write_labels(path, self.labels, self.label_set)
