"""A training run, from a recipe to a file of weights."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
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
from ..evaluation import Report, describe_leak, evaluate
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
from .checkpoint import (
    check_loss,
    check_same_recipe,
    check_weights,
    load_checkpoint,
    remove_partial_files,
    save_checkpoint,
)  # fmt: skip
from .config import TrainConfig, from_dict, load_recipe
from .distributed import ALONE, Processes, join_processes
from .initial import load_initial
from .interrupt import StoppedError, give_way, stop_signals
from .log import Progress, RunLog, format_duration
from .optimizer import freeze, make_optimizer, update_average
from .record import describe_weights, leave_record, list_files, name_scores
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
    OUTPUT/log.jsonl, OUTPUT/files.json (which images train and which are scored) and, in the end,
    OUTPUT/report.html with the files it is made of. An interrupt or SIGTERM finishes the step,
    saves and returns; while the network is being scored it returns at once, and scores it when the
    run is resumed. Of the processes that torchrun starts, each takes its share of every step, and
    the first alone writes.

    Args:
        recipe: A TOML file, or a `TrainConfig`.
        output: Folder of the run; runs/NAME by default.
        device: `cpu`, `cuda`, `mps` …
        resume: Go on from the folder's checkpoint, or from the beginning where the run was killed
            before its first one.
        say: Receives the lines meant for people.
        progress: Called after each step.

    Returns:
        The file of weights; where the run was interrupted, the checkpoint.

    Raises:
        ValueError: If recipe, data and weights do not fit each other, or the run's folder is in
        use.
        FileNotFoundError: If data, or the folder to resume from, is missing.
        FloatingPointError: If the loss is no longer finite; the last checkpoint stays as it was.
        ConnectionError: If another process of the run was killed or crashed.
        SystemExit: In the other processes, where one has failed; the first raises what it was.
    """

    def prepare(processes: Processes) -> Run:
        config = recipe if isinstance(recipe, TrainConfig) else load_recipe(recipe)
        folder = Path(output) if output is not None else Path("runs") / config.name
        has_checkpoint = (folder / "checkpoint.pt").exists()
        if has_checkpoint and not resume:
            raise ValueError(f"{folder} holds a run already; resume it, or choose another folder")
        begins_anew = resume and not has_checkpoint and folder.is_dir()
        if begins_anew and processes.is_first:
            say(f"{folder} holds no checkpoint yet: this run begins at its beginning")
        goes_on = resume and not begins_anew
        with _made(folder) if processes.is_first and not goes_on else contextlib.nullcontext():
            return Run(
                config,
                folder,
                device=device,
                resume=goes_on,
                say=say,
                progress=progress,
                processes=processes,
            )

    with join_processes() as processes:
        return processes.together(lambda: prepare(processes)).execute()


@contextlib.contextmanager
def _made(folder: Path) -> Generator[None]:
    """Make a run's folder, so that --resume finds it wherever the run is killed."""
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if is_new:
            folder.rmdir()
        raise


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
        self.say = say if processes.is_first else lambda _: None
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
        self.owes_scores = False  # of this iteration: they follow its checkpoint
        self.board: Board | None = None
        self.data_wait = 0.0  # share of the last steps' time in which they waited for data

    def execute(self) -> Path:
        """Train to the end or to an interrupt; see `train`."""
        if self.device.type == "cpu":
            keep_freed_memory()
        log = self.processes.together(self._open)
        self.stepper.connect()
        with stop_signals() as stopped:
            with contextlib.closing(self._batches()) as batches:
                self._iterate(log, stopped, batches)  # closed, or workers would outlive an error
            if self.iteration == self.config.optimizer.iterations:
                if not self.processes.is_first:
                    return self.folder / f"{self.config.name}.safetensors"
                with contextlib.suppress(StoppedError):
                    return self._finish(log, stopped)
        self.say(f"stopped after iteration {self.iteration}; go on with --resume -o {self.folder}")
        return self.checkpoint_path

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
            log.rewind(self.iteration, is_unscored=is_last or self.owes_scores)
            if leak := describe_leak(self.entry({}), self.val_set):
                self.say(f"Warning: {leak}")
            if self.config.output.tensorboard:
                self.board = Board(self.folder, first_iteration=self.iteration)
                log.also = self.board.show_values
            if not self.resume:
                list_files(self.folder, self.train_set, self.val_set)
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
            if self.owes_scores:
                if self.processes.is_first:
                    with contextlib.suppress(StoppedError):
                        self._evaluate_and_keep(log, stopped)
                self.owes_scores = False
                is_stopping = self.processes.any(bool(stopped))
                continue
            start = time.monotonic()
            losses.append(self.step(batches))
            seconds.append(time.monotonic() - start)
            self.processes.together(partial(check_loss, losses[-1], self.iteration, self.folder))
            is_stopping = self.processes.any(bool(stopped))
            self.data_wait = (self.stepper.waited_s - waited_s) / max(sum(seconds), 1e-9)
            self._show(losses[-1], float(np.mean(seconds)))
            is_last = self.iteration == total
            if self.iteration % config.output.log_every == 0 or is_last:
                if self.processes.is_first:
                    self._log_step(log, float(np.mean(losses)), float(np.mean(seconds)))
                losses, seconds, waited_s = [], [], self.stepper.waited_s
            self._keep(is_due=is_last or is_stopping)

    def _keep(self, *, is_due: bool) -> None:
        """Write a checkpoint where it is time to; always before the network is scored."""
        output, total = self.config.output, self.config.optimizer.iterations
        is_scored = output.evaluate_every and self.iteration % output.evaluate_every == 0
        self.owes_scores = bool(is_scored) and self.iteration < total
        is_due = is_due or self.owes_scores or self.iteration % output.checkpoint_every == 0
        if is_due and self.processes.is_first:
            check_weights(self.model, self.iteration, self.folder)
            save_checkpoint(self.checkpoint_path, self.state())

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

    def _evaluate_and_keep(self, log: RunLog, stopped: list[int]) -> None:
        model = self.evaluated_model()
        segmenter = Segmenter((model, self.entry({})), device=str(self.device))
        report = evaluate(segmenter, self.val_set, progress=give_way(stopped))
        log.write_report(self.iteration, report, output_stride=self.model.output_stride)
        if self.board is not None:
            self.board.show_predictions(self.iteration, segmenter, self.val_set)
        if report.miou > self.best_miou:
            self.best_miou = report.miou
            self._save(self.folder / "best.safetensors", model, report)

    def _finish(self, log: RunLog, stopped: list[int]) -> Path:
        path = self.folder / f"{self.config.name}.safetensors"
        self.model.set_output_stride(self.config.model.output_stride)
        model = self.evaluated_model()
        self._save(path, model, None)
        stored = load_model(path)  # score what users will load, rounding included
        segmenter = Segmenter(stored, device=str(self.device), scales=self.config.model.scales)
        report = evaluate(segmenter, self.val_set, progress=give_way(stopped))
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
        metrics = {}
        if report is not None and describe_leak(self.entry({}), self.val_set) is None:
            metrics = name_scores(report, self.config.model.scales)
        dtype = torch.float16 if self.config.output.half else torch.float32
        save_weights(path, model.state_dict(), self.entry(metrics), dtype=dtype)

    def entry(self, metrics: dict[str, dict[str, float]]) -> Entry:
        """Describe this run's weights."""
        return describe_weights(
            self.config, self.model.options, self.train_set, before=self.before, metrics=metrics
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
            "owes_scores": self.owes_scores,
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
        self.owes_scores = state.get("owes_scores", False)
        self.before = tuple(state.get("before", ()))
