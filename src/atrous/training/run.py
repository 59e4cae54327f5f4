"""A training run, from a recipe to a file of weights."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import time
from collections.abc import Callable, Generator
from functools import partial
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
from .batch_norm import sync_batch_norms
from .board import Board
from .build import build_model, count_class_weights, make_preprocess, open_data
from .checkpoint import check_same_recipe, load_checkpoint, remove_partial_files, save_checkpoint
from .config import TrainConfig, from_dict, load_recipe
from .distributed import ALONE, Processes, join_processes
from .initial import load_initial
from .interrupt import stop_signals
from .log import Progress, RunLog, format_duration
from .optimizer import freeze, make_optimizer, update_average
from .record import leave_record, name_scores
from .step import COARSE_STRIDE, Batches, Stepper


def train(
    recipe: str | PathLike[str] | TrainConfig,
    *,
    output: str | PathLike[str] | None = None,
    device: str = "cpu",
    resume: bool = False,
    say: Callable[[str], None] = print,
    progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Train a network as a recipe says.

    Writes OUTPUT/NAME.safetensors (the final weights with their entry and val scores),
    OUTPUT/best.safetensors (the best evaluation's), OUTPUT/checkpoint.pt (to resume from),
    OUTPUT/log.jsonl and, in the end, OUTPUT/report.html with the files it is made of. An interrupt
    or SIGTERM finishes the step, saves and returns. Of the processes that torchrun starts, each
    takes its share of every step, and the first alone writes.

    Args:
        recipe: A TOML file, or a `TrainConfig`.
        output: Folder of the run; runs/NAME by default.
        device: `cpu`, `cuda`, `mps` …
        resume: Go on from the folder's checkpoint.
        say: Receives the lines meant for people.
        progress: Called after each step.

    Returns:
        The file of weights; where the run was interrupted, the checkpoint.

    Raises:
        ValueError: If recipe, data and weights do not fit each other, or the run's folder is in
        use.
        FileNotFoundError: If data, or the checkpoint to resume from, is missing.
        FloatingPointError: If the loss is no longer finite; the last checkpoint stays as it was.
        ConnectionError: If another process of the run was killed or crashed.
        SystemExit: In the other processes, where one has failed; the first raises what it was.
    """

    def prepare(processes: Processes) -> Run:
        config = recipe if isinstance(recipe, TrainConfig) else load_recipe(recipe)
        folder = Path(output) if output is not None else Path("runs") / config.name
        if not resume and (folder / "checkpoint.pt").exists():
            raise ValueError(f"{folder} holds a run already; resume it, or choose another folder")
        return Run(
            config,
            folder,
            device=device,
            resume=resume,
            say=say,
            progress=progress,
            processes=processes,
        )

    with join_processes() as processes:
        return processes.together(lambda: prepare(processes)).execute()


class Run:
    """One recipe in one folder: data, network, optimizer and the iteration that is next."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        *,
        device: str,
        say: Callable[[str], None],
        resume: bool = False,
        progress: Callable[[Progress], None] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.config = config
        self.folder = folder
        self.resume = resume
        self.processes = processes
        self.say = say if processes.is_first else _say_nothing
        self.progress = progress if processes.is_first else None
        self.device = processes.place(check_device(device))
        self.train_set, self.val_set = open_data(config)
        torch.manual_seed(config.seed)
        self.model = build_model(config, self.train_set.label_set.num_classes)
        self.before: tuple[str, ...] = ()  # what the first weights were trained on
        if not resume:
            new, self.before = load_initial(self.model, config.model.init)
            count = len(list(self.model.parameters()))
            self.say(f"{config.model.name}: {len(new)} of {count} parameter tensors begin anew")
        if config.loss.coarse_iterations:  # refused here rather than at the first step
            self.model.set_output_stride(COARSE_STRIDE)
            self.model.set_output_stride(config.model.output_stride)
        self.model.to(self.device)
        if config.compute.channels_last:
            # nn.Module.to takes a memory format, but no signature of it says so.
            self.model.to(memory_format=torch.channels_last)  # pyright: ignore
        has_average = config.optimizer.ema_decay > 0 and processes.is_first
        self.average = copy.deepcopy(self.model) if has_average else None
        if config.optimizer.sync_bn and processes.count > 1:
            sync_batch_norms(self.model)
        self.kept = freeze(self.model, config.optimizer)
        self.optimizer = make_optimizer(self.model, config.optimizer)
        class_weights = count_class_weights(self.train_set, config.loss.class_weight_power)
        self.stepper = Stepper(
            self.model,
            self.optimizer,
            config,
            kept=self.kept,
            class_weights=None if class_weights is None else class_weights.to(self.device),
            device=self.device,
            processes=processes,
        )
        self.iteration = 0
        self.best_miou = 0.0
        self.board: Board | None = None
        self.data_wait = 0.0  # share of the last steps' time in which they waited for data

    def execute(self) -> Path:
        """Train to the end or to an interrupt; see `train`."""
        if self.device.type == "cpu":
            keep_freed_memory()
        log = self.processes.together(self._open)
        self.stepper.connect()
        with stop_signals() as stopped, contextlib.closing(self._batches()) as batches:
            self._iterate(log, stopped, batches)  # closed, or workers would outlive an error
        if self.iteration < self.config.optimizer.iterations:
            self.say(
                f"stopped after iteration {self.iteration}; go on with --resume -o {self.folder}"
            )
            return self.checkpoint_path
        if not self.processes.is_first:
            return self.folder / f"{self.config.name}.safetensors"
        return self._finish(log)

    def _open(self) -> RunLog:
        """Make the folder ready: a checkpoint to resume from is there before the first step."""
        log = RunLog(self.folder / "log.jsonl", self.say)
        if self.resume:
            self.load_state(load_checkpoint(self.checkpoint_path))
            self.say(f"resuming after iteration {self.iteration}")
        if self.processes.is_first:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_partial_files(self.folder)
            is_last = self.iteration == self.config.optimizer.iterations
            log.rewind(self.iteration, is_last=is_last)
            if self.config.output.tensorboard:
                self.board = Board(self.folder, first_iteration=self.iteration)
                log.also = self.board.show_values
            if not self.resume:
                save_checkpoint(self.checkpoint_path, self.state())
        return log

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _iterate(self, log: RunLog, stopped: list[int], batches: Batches) -> None:
        config, total = self.config, self.config.optimizer.iterations
        losses: list[float] = []  # since the last log line, as are the seconds and the wait
        seconds: list[float] = []
        waited_s = 0.0
        is_stopping = False
        while self.iteration < total and not is_stopping:
            start = time.monotonic()
            losses.append(self.step(batches))
            seconds.append(time.monotonic() - start)
            self.processes.together(partial(self._check_finite, losses[-1]))
            is_stopping = self.processes.any(bool(stopped))
            self.data_wait = (self.stepper.waited_s - waited_s) / max(sum(seconds), 1e-9)
            self._show(losses[-1], float(np.mean(seconds)))
            is_last = self.iteration == total
            if self.iteration % config.output.log_every == 0 or is_last:
                if self.processes.is_first:
                    self._log_step(log, float(np.mean(losses)), float(np.mean(seconds)))
                losses, seconds, waited_s = [], [], self.stepper.waited_s
            if self.processes.is_first:
                self._keep(log, is_last=is_last, is_stopping=is_stopping)

    def _keep(self, log: RunLog, *, is_last: bool, is_stopping: bool) -> None:
        """Evaluate and write a checkpoint where it is time to."""
        output = self.config.output
        if output.evaluate_every and self.iteration % output.evaluate_every == 0 and not is_last:
            self._evaluate_and_keep(log)
        if self.iteration % output.checkpoint_every == 0 or is_last or is_stopping:
            self._check_weights()
            save_checkpoint(self.checkpoint_path, self.state())

    def _check_finite(self, loss: float) -> None:
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} at iteration {self.iteration}; start again with a lower "
                f"optimizer.learning_rate. The last checkpoint in {self.folder} is intact"
            )

    def _check_weights(self) -> None:
        """Keep the last good checkpoint: a finite loss may have led to weights that are none."""
        for name, value in self.model.named_parameters():
            if not bool(torch.isfinite(value).all()):
                raise FloatingPointError(
                    f"{name} is no longer finite after iteration {self.iteration}; start again "
                    "with a lower optimizer.learning_rate. The last checkpoint in "
                    f"{self.folder} is intact"
                )

    def _show(self, loss: float, seconds: float) -> None:
        if self.progress is not None:
            total = self.config.optimizer.iterations
            self.progress(Progress(self.iteration, total, loss, seconds, self.data_wait))

    def _batches(self) -> Generator[tuple[Tensor, Tensor]]:
        config = self.config
        transform = TrainTransform(
            make_preprocess(config),
            config.augment.crop_hw,
            config.augment.scales,
            config.augment.mirror,
            config.model.align_corners,
        )
        # Of one iteration, in all processes together: positions do not depend on their number.
        samples = config.optimizer.batch_size * config.optimizer.accumulate
        return stream_batches(
            TrainingStream(self.train_set, transform, seed=config.seed),
            start=self.iteration * samples,
            stop=config.optimizer.iterations * samples,
            batch_size=self.stepper.batch_size,
            workers=config.data.workers,
            share=(self.processes.rank, self.processes.count),
            pin_memory=self.device.type == "cuda",
        )

    def step(self, batches: Batches) -> float:
        """Take one step of the optimizer; returns the summed loss, averaged over micro-batches."""
        total = self.stepper.step(batches, self.iteration)
        self.iteration += 1
        if self.average is not None:
            decay = min(self.config.optimizer.ema_decay, self.iteration / (self.iteration + 9))
            update_average(self.average, self.model, decay)
        return total

    def _log_step(self, log: RunLog, loss: float, seconds: float) -> None:
        left = seconds * (self.config.optimizer.iterations - self.iteration)
        rate = self.optimizer.param_groups[0]["lr"]
        log.write(
            self.iteration,
            f"{self.iteration:6d}/{self.config.optimizer.iterations}  loss {loss:.3f}  "
            f"lr {rate:.2e}  {seconds:.2f} s/it, {self.data_wait:.0%} of it for data  "
            f"{format_duration(left)} left",
            loss=round(loss, 5),
            learning_rate=rate,
            seconds_per_iteration=round(seconds, 3),
            data_wait=round(self.data_wait, 3),
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
        log.write_report(self.iteration, report, output_stride=self.model.output_stride)
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
        log.write_report(self.iteration, report, output_stride=self.model.output_stride)
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

    def _save(self, path: Path, model: nn.Module, report: Report | None) -> None:
        metrics = {} if report is None else name_scores(report, self.config.model.scales)
        dtype = torch.float16 if self.config.output.half else torch.float32
        save_weights(path, model.state_dict(), self.entry(metrics), dtype=dtype)

    def entry(self, metrics: dict[str, dict[str, float]]) -> Entry:
        """Describe this run's weights."""
        output = self.config.output
        train_split = f"{self.train_set.name}/{self.train_set.split}"
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
            trained_on=tuple(dict.fromkeys((*self.before, train_split))),
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
            "scaler": self.stepper.state(),
            "best_miou": self.best_miou,
            "before": list(self.before),
            "config": dataclasses.asdict(self.config),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint's state.

        Raises:
            ValueError: If it belongs to another recipe; the first key that differs is named.
        """
        theirs = from_dict(TrainConfig, state["config"])  # fills in what an older one did not have
        check_same_recipe(dataclasses.asdict(self.config), dataclasses.asdict(theirs))
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stepper.load_state(state.get("scaler", {}))
        self.iteration = state["iteration"]
        self.best_miou = state["best_miou"]
        self.before = tuple(state.get("before", ()))


def _say_nothing(_text: str) -> None:
    """What processes other than the first one say."""
