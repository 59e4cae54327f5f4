"""A training run, from a recipe to a file of weights."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import time
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.loader import TrainingStream, stream_batches
from ..data.transforms import TrainTransform
from ..evaluation import Report, evaluate
from ..models import DeepLab
from ..predict import Segmenter, check_device
from ..report import write_report
from ..weights import load_model
from ..weights.catalog import Entry
from ..weights.checkpoint import save_weights
from .allocator import keep_freed_memory
from .board import Board
from .build import build_model, count_class_weights, make_preprocess, open_data
from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainConfig, load_recipe
from .initial import load_initial
from .interrupt import stop_signals
from .log import RunLog, format_duration
from .losses import multiscale_losses
from .optimizer import freeze, make_optimizer, poly_factor
from .record import leave_record

COARSE_STRIDE = 16
# What a run may be resumed with another value of: it does not change the weights.
MAY_DIFFER = ("data.root", "data.val_root", "data.workers")


def train(
    recipe: str | PathLike[str] | TrainConfig,
    *,
    output: str | PathLike[str] | None = None,
    device: str = "cpu",
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Train a network as a recipe says.

    Writes OUTPUT/NAME.safetensors (the final weights with their entry and val scores),
    OUTPUT/best.safetensors (the best evaluation's), OUTPUT/checkpoint.pt (to resume from),
    OUTPUT/log.jsonl and, in the end, OUTPUT/report.html with the files it is made of. An interrupt
    or SIGTERM finishes the step, saves and returns.

    Args:
        recipe: A TOML file, or a `TrainConfig`.
        output: Folder of the run; runs/NAME by default.
        device: `cpu`, `cuda`, `mps` …
        resume: Go on from the folder's checkpoint.
        say: Receives the lines meant for people.

    Returns:
        The file of weights; where the run was interrupted, the checkpoint.

    Raises:
        ValueError: If recipe, data and weights do not fit each other, or the run's folder is in
        use.
        FileNotFoundError: If data, or the checkpoint to resume from, is missing.
        FloatingPointError: If the loss is no longer finite; the last checkpoint stays as it was.
    """
    config = recipe if isinstance(recipe, TrainConfig) else load_recipe(recipe)
    folder = Path(output) if output is not None else Path("runs") / config.name
    if not resume and (folder / "checkpoint.pt").exists():
        raise ValueError(f"{folder} holds a run already; resume it, or choose another folder")
    return Run(config, folder, device=device, say=say).execute(resume=resume)


class Run:
    """One recipe in one folder: data, network, optimizer and the iteration that is next."""

    def __init__(
        self, config: TrainConfig, folder: Path, *, device: str, say: Callable[[str], None]
    ) -> None:
        self.config = config
        self.folder = folder
        self.say = say
        self.device = check_device(device)
        self.train_set, self.val_set = open_data(config)
        torch.manual_seed(config.seed)
        self.model = build_model(config, self.train_set.label_set.num_classes)
        new = load_initial(self.model, config.model.init)
        parameters = len(list(self.model.parameters()))
        say(f"{config.model.name}: {len(new)} of {parameters} parameter tensors begin anew")
        # nn.Module.to takes a memory format, but no signature of it says so.
        if config.loss.coarse_iterations:  # refused here rather than at the first step
            self.model.set_output_stride(COARSE_STRIDE)
            self.model.set_output_stride(config.model.output_stride)
        self.model.to(self.device).to(memory_format=torch.channels_last)  # pyright: ignore
        self.kept = freeze(self.model, config.optimizer)
        self.optimizer = make_optimizer(self.model, config.optimizer)
        self.average = copy.deepcopy(self.model) if config.optimizer.ema_decay else None
        self.class_weights = count_class_weights(self.train_set, config.loss.class_weight_power)
        if self.class_weights is not None:
            self.class_weights = self.class_weights.to(self.device)
        self.iteration = 0
        self.best_miou = 0.0
        self.board: Board | None = None

    def execute(self, *, resume: bool) -> Path:
        """Train to the end or to an interrupt; see `train`."""
        if self.device.type == "cpu":
            keep_freed_memory()
        self.folder.mkdir(parents=True, exist_ok=True)
        log = RunLog(self.folder / "log.jsonl", self.say)
        if resume:
            self.load_state(load_checkpoint(self.checkpoint_path))
            self.say(f"resuming after iteration {self.iteration}")
        log.rewind(self.iteration)
        if self.config.output.tensorboard:
            self.board = Board(self.folder, first_iteration=self.iteration)
            log.also = self.board.show_values
        with stop_signals() as stopped:
            self._iterate(log, stopped)
        if self.iteration < self.config.optimizer.iterations:
            self.say(
                f"stopped after iteration {self.iteration}; go on with --resume -o {self.folder}"
            )
            return self.checkpoint_path
        return self._finish(log)

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _iterate(self, log: RunLog, stopped: list[int]) -> None:
        config, total = self.config, self.config.optimizer.iterations
        batches = self._batches()
        losses: list[float] = []  # since the last log line, as are the seconds
        seconds: list[float] = []
        while self.iteration < total and not stopped:
            start = time.monotonic()
            losses.append(self.step(batches))
            seconds.append(time.monotonic() - start)
            self._check_finite(losses[-1])
            done, is_last = self.iteration, self.iteration == total
            if done % config.output.log_every == 0 or is_last:
                self._log_step(log, float(np.mean(losses)), float(np.mean(seconds)))
                losses, seconds = [], []
            every = config.output.evaluate_every
            if every and done % every == 0 and not is_last:
                self._evaluate_and_keep(log)
            if done % config.output.checkpoint_every == 0 or is_last or stopped:
                save_checkpoint(self.checkpoint_path, self.state())

    def _check_finite(self, loss: float) -> None:
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} at iteration {self.iteration}; lower optimizer.learning_rate. "
                f"The last checkpoint in {self.folder} is intact"
            )

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        config = self.config
        transform = TrainTransform(
            make_preprocess(config),
            config.augment.crop_hw,
            config.augment.scales,
            config.augment.mirror,
            config.model.align_corners,
        )
        samples = config.optimizer.batch_size * config.optimizer.accumulate  # of one iteration
        return stream_batches(
            TrainingStream(self.train_set, transform, seed=config.seed),
            start=self.iteration * samples,
            stop=config.optimizer.iterations * samples,
            batch_size=config.optimizer.batch_size,
            workers=config.data.workers,
        )

    def step(self, batches: Iterator[tuple[Tensor, Tensor]]) -> float:
        """Take one step of the optimizer; returns the summed loss, averaged over micro-batches."""
        config = self.config
        is_coarse = self.iteration < config.loss.coarse_iterations
        self.model.set_output_stride(COARSE_STRIDE if is_coarse else config.model.output_stride)
        self.model.train()
        for module in self.kept:
            module.eval()
        factor = poly_factor(self.iteration, config.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        self.optimizer.zero_grad()
        total = 0.0
        for _ in range(config.optimizer.accumulate):
            images, labels = next(batches)
            images = images.to(self.device, memory_format=torch.channels_last)
            losses = multiscale_losses(
                self.model.forward_scales(images),
                labels.to(self.device),
                align_corners=config.model.align_corners,
                at_pixels=config.loss.at_pixels and not is_coarse,
                class_weights=self.class_weights,
                upsample=self.model.upsample,
            )
            loss = torch.stack(losses).sum() / config.optimizer.accumulate
            loss.backward()
            total += loss.item()
        self.optimizer.step()
        self.iteration += 1
        if self.average is not None:
            decay = config.optimizer.ema_decay
            update_average(
                self.average, self.model, min(decay, self.iteration / (self.iteration + 9))
            )
        return total

    def _log_step(self, log: RunLog, loss: float, seconds: float) -> None:
        left = seconds * (self.config.optimizer.iterations - self.iteration)
        rate = self.optimizer.param_groups[0]["lr"]
        log.write(
            self.iteration,
            f"{self.iteration:6d}/{self.config.optimizer.iterations}  loss {loss:.3f}  "
            f"lr {rate:.2e}  {seconds:.2f} s/it  {format_duration(left)} left",
            loss=round(loss, 5),
            learning_rate=rate,
            seconds_per_iteration=round(seconds, 3),
        )
        if self.board is not None:
            self.board.show_rates(self.iteration, self.optimizer)

    def evaluated_model(self) -> DeepLab:
        """The weights that are judged and saved: the moving average where there is one."""
        model = copy.deepcopy(self.average if self.average is not None else self.model)
        model.set_output_stride(self.model.output_stride)
        return model.eval()

    def _evaluate_and_keep(self, log: RunLog) -> None:
        model = self.evaluated_model()
        segmenter = Segmenter((model, self.entry({})), device=str(self.device))
        report = evaluate(segmenter, self.val_set)
        self._log_report(log, report)
        if self.board is not None:
            self.board.show_predictions(self.iteration, segmenter, self.val_set)
        if report.miou > self.best_miou:
            self.best_miou = report.miou
            self._save(self.folder / "best.safetensors", model, report)

    def _finish(self, log: RunLog) -> Path:
        path = self.folder / f"{self.config.name}.safetensors"
        self.model.set_output_stride(self.config.model.output_stride)
        model = self.evaluated_model()
        self._save(path, model, None)
        stored = load_model(path)  # score what users will load, rounding included
        segmenter = Segmenter(stored, device=str(self.device), scales=self.config.model.scales)
        report = evaluate(segmenter, self.val_set)
        self._log_report(log, report)
        self._save(path, model, report)
        if report.miou > self.best_miou:
            self._save(self.folder / "best.safetensors", model, report)
        self.say(f"wrote {path}")
        if self.board is not None:
            self.board.show_predictions(self.iteration, segmenter, self.val_set)
            self.board.close()
        leave_record(self.folder, self.config, report, device=str(self.device))
        self.say(f"wrote {write_report(self.folder, device=str(self.device))}")
        return path

    def _log_report(self, log: RunLog, report: Report) -> None:
        iou = dict(zip(report.label_set.names, report.iou.round(4).tolist(), strict=True))
        log.write(
            self.iteration,
            f"{report.dataset}: mIoU {report.miou:.4f}  "
            + "  ".join(f"{name} {value:.2f}" for name, value in iou.items()),
            miou=round(report.miou, 5),
            pixel_accuracy=round(report.pixel_accuracy, 5),
            class_accuracy=round(report.class_accuracy, 5),
            iou=iou,
            output_stride=self.model.output_stride,
        )

    def _save(self, path: Path, model: nn.Module, report: Report | None) -> None:
        metrics: dict[str, dict[str, float]] = {}
        if report is not None:
            scales = self.config.model.scales
            note = f" scales {', '.join(map(str, scales))}" if len(scales) > 1 else ""
            metrics[report.dataset + note] = {
                "miou": round(report.miou, 5),
                "pixel_accuracy": round(report.pixel_accuracy, 5),
                "class_accuracy": round(report.class_accuracy, 5),
            }
        dtype = torch.float16 if self.config.output.half else torch.float32
        save_weights(path, model.state_dict(), self.entry(metrics), dtype=dtype)

    def entry(self, metrics: dict[str, dict[str, float]]) -> Entry:
        """Describe this run's weights."""
        output = self.config.output
        return Entry(
            name=self.config.name,
            options=self.model.options,
            label_set=self.train_set.label_set,
            preprocess=make_preprocess(self.config),
            crf=None,
            use_crf=False,
            metrics=metrics,
            licence=output.licence,
            notice=output.notice,
            source=output.source,
            recipe=self.config.name,
            date=datetime.date.today().isoformat(),
            url=None,
            sha256=None,
            size_bytes=None,
        )

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "iteration": self.iteration,
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "best_miou": self.best_miou,
            "config": dataclasses.asdict(self.config),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint's state.

        Raises:
            ValueError: If it belongs to another recipe; the first key that differs is named.
        """
        _check_same_recipe(dataclasses.asdict(self.config), state["config"], "")
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])
        if state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])
        self.iteration = state["iteration"]
        self.best_miou = state["best_miou"]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move an average of weights and statistics towards a model."""
    current = model.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])


def _check_same_recipe(ours: dict[str, Any], theirs: dict[str, Any], where: str) -> None:
    for key, value in ours.items():
        other = theirs.get(key)
        if isinstance(value, dict):
            _check_same_recipe(value, other or {}, f"{where}{key}.")
        elif value != other and f"{where}{key}" not in MAY_DIFFER:
            raise ValueError(
                f"the checkpoint was made with {where}{key} = {other!r}, the recipe says "
                f"{value!r}; resume with the same recipe, or start in another folder"
            )
