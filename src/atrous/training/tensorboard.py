"""Write losses, scores, learning rates and predictions of a run for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data import Dataset
from ..errors import MissingPackageError
from ..predict import Segmenter
from ..visualize import compare

FOLDER = "tensorboard"  # inside the run's folder
IMAGES = 4  # of the val split, per evaluation


class Board:
    """Writes RUN/tensorboard for `tensorboard --logdir RUN`."""

    def __init__(self, folder: Path, *, first_iteration: int) -> None:
        """Open the folder; values after `first_iteration` of an earlier start are hidden.

        Raises:
            MissingPackageError: If the package tensorboard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingPackageError(
                "output.tensorboard needs the package tensorboard: pip install 'atrous[train]'"
            ) from error
        self._writer = SummaryWriter(str(folder / FOLDER), purge_step=first_iteration + 1)

    def show_values(self, iteration: int, values: Mapping[str, Any]) -> None:
        """Add the values of a log line to the curves; a table becomes one curve per key."""
        for name, value in values.items():
            if isinstance(value, Mapping):
                for key, number in value.items():
                    self._scalar(f"{name}/{key}", number, iteration)
            else:
                self._scalar(name, value, iteration)
        self._writer.flush()

    def show_rates(self, iteration: int, optimizer: torch.optim.Optimizer) -> None:
        """Add the learning rate of each parameter group to the curves."""
        for index, group in enumerate(optimizer.param_groups):
            self._scalar(f"learning_rates/group {index}", group["lr"], iteration)

    def show_predictions(self, iteration: int, segmenter: Segmenter, dataset: Dataset) -> None:
        """Add the first images of the val split with true and predicted labels."""
        for index in range(min(IMAGES, len(dataset))):
            sample = dataset[index]
            labels = {"truth": sample.labels, "prediction": segmenter(sample.image).labels}
            panel = compare(sample.image, labels, dataset.label_set)
            self._writer.add_image(
                f"val/{sample.name}", np.asarray(panel), iteration, dataformats="HWC"
            )
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _scalar(self, name: str, value: Any, iteration: int) -> None:
        if isinstance(value, (int, float)) and np.isfinite(value):
            self._writer.add_scalar(name, value, iteration)
