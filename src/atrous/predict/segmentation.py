"""The result of a segmenter for one image."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import visualize
from ..image_io import StrPath, write_labels
from ..labels import LabelSet


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """Labels of one image, with overlay, probabilities and timings.

    Attributes:
        labels: (H, W) uint8, or uint16 over 256 classes; the size of the image.
        image: (H, W, 3) uint8 RGB, the image as it was read.
        label_set: The classes of the labels.
        timings: Seconds of each step in order, and their `total`. The steps that a batch runs
            together are divided evenly among its images.
        compute_probabilities: Computes `probabilities`.
    """

    labels: NDArray[Any]
    image: NDArray[np.uint8]
    label_set: LabelSet
    timings: dict[str, float]
    compute_probabilities: Callable[[], NDArray[np.float32]]

    def __repr__(self) -> str:
        rows, columns = self.labels.shape
        largest = ", ".join(
            f"{visualize.class_name(index, self.label_set)} {visualize.percent(share)}"
            for index, share in visualize.class_shares(self.labels)[:3]
        )
        return f"<Segmentation {columns}x{rows}: {largest}>"

    def _repr_png_(self) -> bytes:
        """Show the overlay in a notebook."""
        encoded = io.BytesIO()
        self.overlay().save(encoded, "PNG")
        return encoded.getvalue()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Give the labels to numpy: `np.asarray(result)`."""
        return np.array(self.labels, dtype=dtype, copy=copy)

    @cached_property
    def probabilities(self) -> NDArray[np.float32]:
        """(K, H, W) float32; each pixel sums to 1.

        Computed on first use and then kept. Until then, a result holds the network's scores, which
        are 64 times smaller.
        """
        return self.compute_probabilities()

    def overlay(self, *, alpha: float = visualize.ALPHA, legend: bool = True) -> Image.Image:
        """Draw the labels over the image, with a legend below; see `visualize.overlay`."""
        return visualize.overlay(
            self.image, self.labels, self.label_set, alpha=alpha, legend=legend
        )

    def save(self, path: StrPath) -> None:
        """Write the labels as a palette PNG; see `image_io.write_labels`."""
        write_labels(path, self.labels, self.label_set)
