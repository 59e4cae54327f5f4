"""`train` and `Run`: a training run, from a recipe to a weights file."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..atomic_file import remove_partial_files
from ..data.loader import TrainingStream, stream_batches
from ..data.transforms import TrainTransform
from ..errors import InputError
from ..evaluation import Report, describe_leak, evaluate
from ..models import DeepLab, build_network
from ..predict import Segmenter, check_device
from ..report import write_report
from ..tables import to_table
from ..weights import load_model
from ..weights.catalog import Entry
from ..weights.checkpoint import save_weights
from .batch_norm import sync_batch_norms
from .checkpoint import (
    RENAMED_KEYS,
    check_loss,
    check_same_recipe,
    check_weights,
    load_checkpoint,
    save_checkpoint,
)  # fmt: skip
from .data import count_class_weights, open_data
from .distributed import ALONE, Processes, join_processes
from .init_weights import load_init_weights
from .log import Progress, RunLog, format_duration
from .optimizer import freeze, make_optimizer, update_average
from .process import StoppedError, keep_freed_memory, raise_if_stopping, stop_signals
from .recipe import Recipe, load_recipe, recipe_from_table
from .record import describe_weights, metrics_of, write_file_list, write_record
from .step import COARSE_STRIDE, Batches, Stepper
from .tensorboard import Board


def train(
    recipe: str | PathLike[str] | Recipe,
    *,
    output: str | PathLike[str] | None = None,
    device: str = "auto",
    resume: bool = False,
    say: Callable[[str], None] = print,
    progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Train a network from a recipe.

    Writes into the folder OUTPUT:

    * NAME.safetensors: the final weights with their entry and val scores
    * best.safetensors: the weights of the best evaluation
    * checkpoint.pt: the state to resume from
    * log.jsonl: losses and scores
    * files.json: the names of the images that are trained and evaluated on
    * report.html and the files that it is made from, at the end

    After an interrupt or SIGTERM, the run finishes its step, saves a checkpoint and returns. A
    signal during an evaluation stops the evaluation, which the resumed run repeats. Under torchrun,
    each process computes its share of every step, and only the first process writes files.

    Args:
        recipe: A TOML file, or a `Recipe`.
        output: Folder of the run; runs/NAME by default.
        device: `auto` for the accelerator that PyTorch finds, else the CPU; or `cpu`, `cuda`,
            `mps` …
        resume: Continue from the folder's checkpoint. If the run was killed before its first
            checkpoint, start from scratch.
        say: Called with each line of text for the user.
        progress: Called after each step.

    Returns:
        The weights file, or the checkpoint if the run was interrupted.

    Raises:
        InputError: If recipe, data and weights do not fit each other, or the run's folder is in
            use.
        FileNotFoundError: If the data or the folder to resume from does not exist.
        TrainingError: If the loss is no longer finite; the last checkpoint is kept.
        ConnectionError: If another process of the run was killed or crashed.
        SystemExit: In the other processes, if one of them failed; the first process raises the
            error itself.
    """

    def prepare(processes: Processes) -> Run:
        loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
        folder = Path(output) if output is not None else Path("runs") / loaded.name
        has_checkpoint = (folder / "checkpoint.pt").exists()
        if has_checkpoint and not resume:
            raise InputError(f"{folder} already holds a run; resume it, or choose another folder")
        restarts_from_scratch = resume and not has_checkpoint and folder.is_dir()
        if restarts_from_scratch and processes.is_first:
            say(f"{folder} holds no checkpoint; starting from scratch")
        is_resuming = resume and not restarts_from_scratch
        with (
            created_folder(folder)
            if processes.is_first and not is_resuming
            else contextlib.nullcontext()
        ):
            return Run(
                loaded,
                folder,
                device=device,
                resume=is_resuming,
                say=say,
                progress=progress,
                processes=processes,
            )

    with join_processes() as processes:
        return processes.run_collectively(lambda: prepare(processes)).execute()


@contextlib.contextmanager
def created_folder(folder: Path) -> Generator[None]:
    """Create a run's folder first, so that --resume finds it after a kill at any moment.

    If the block fails, a new folder is removed again.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if is_new:
            folder.rmdir()
        raise


@dataclass
class RecentSteps:
    """Losses and times of the steps since the last log line."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    waited_s: float = 0.0  # part of the seconds in which the steps waited for data

    @property
    def mean_loss(self) -> float:
        return float(np.mean(self.losses))

    @property
    def mean_seconds(self) -> float:
        return float(np.mean(self.seconds))

    @property
    def data_wait(self) -> float:
        """Share of the time in which the steps waited for data, 0 to 1."""
        return self.waited_s / max(sum(self.seconds), 1e-9)


class Run:
    """One recipe in one folder: data, network, optimizer and the current iteration.

    Attributes:
        init_trained_on: Data sets that the initial weights were trained on.
        averaged_model: Moving average of the network's weights, in the first process; None if the
            recipe has no `ema_decay`.
        frozen_modules: Modules that are not trained and stay in evaluation mode.
        iteration: Number of steps taken.
        best_miou: Of the evaluations so far.
        evaluation_pending: Whether the network must be evaluated before the next step. The
            checkpoint of this iteration is already written.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        *,
        device: str,
        say: Callable[[str], None],
        resume: bool = False,
        progress: Callable[[Progress], None] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.resume = resume
        self.processes = processes
        self.say = say if processes.is_first else lambda _: None
        self.progress = progress if processes.is_first else None
        self.device = processes.assign_device(check_device(device))
        self.train_set, self.val_set = open_data(recipe)
        torch.manual_seed(recipe.seed)
        self.model = build_network(
            recipe.network_for(self.train_set.label_set.num_classes), scales=recipe.scales
        )
        self.init_trained_on: tuple[str, ...] = ()
        if not resume:
            random, self.init_trained_on = load_init_weights(self.model, recipe.init)
            count = len(list(self.model.parameters()))
            self.say(
                f"{recipe.network.name}: {len(random)} of {count} parameter tensors are "
                "initialised randomly"
            )
        if recipe.loss.coarse_iterations:  # fails here rather than at the first step
            self.model.set_output_stride(COARSE_STRIDE)
            self.model.set_output_stride(recipe.network.output_stride)
        self.model.to(self.device)
        if recipe.compute.channels_last:
            # nn.Module.to takes a memory format, but none of its type signatures has it.
            self.model.to(memory_format=torch.channels_last)  # pyright: ignore
        has_average = recipe.optimizer.ema_decay > 0 and processes.is_first
        self.averaged_model = copy.deepcopy(self.model) if has_average else None
        if recipe.optimizer.sync_bn and processes.count > 1:
            sync_batch_norms(self.model)
        self.frozen_modules = freeze(self.model, recipe.optimizer)
        self.optimizer = make_optimizer(self.model, recipe.optimizer)
        class_weights = count_class_weights(self.train_set, recipe.loss.class_weight_power)
        self.stepper = Stepper(
            self.model,
            self.optimizer,
            recipe,
            frozen_modules=self.frozen_modules,
            class_weights=None if class_weights is None else class_weights.to(self.device),
            device=self.device,
            processes=processes,
        )
        self.iteration = 0
        self.best_miou = 0.0
        self.evaluation_pending = False
        self.board: Board | None = None

    @property
    def checkpoint_path(self) -> Path:
        return self.folder / "checkpoint.pt"

    def execute(self) -> Path:
        """Train to the end or to an interrupt; see `train`."""
        if self.device.type == "cpu":
            keep_freed_memory()
        log = self.processes.run_collectively(self._prepare_folder)
        self.stepper.connect()
        with stop_signals() as signals:
            # Closing the batches ends the worker processes, also after an error.
            with contextlib.closing(self.batches()) as batches:
                self._train(log, signals, batches)
            if self.iteration == self.recipe.optimizer.iterations:
                if not self.processes.is_first:
                    return self.folder / f"{self.recipe.name}.safetensors"
                with contextlib.suppress(StoppedError):
                    return self._finish(log, signals)
        self.say(
            f"stopped after iteration {self.iteration}; continue with --resume -o {self.folder}"
        )
        return self.checkpoint_path

    def _prepare_folder(self) -> RunLog:
        """Load the checkpoint to resume from, or write the first one."""
        log = RunLog(self.folder / "log.jsonl", self.say)
        if self.resume:
            self.load_state(load_checkpoint(self.checkpoint_path))
            self.say(f"resuming after iteration {self.iteration}")
        if self.processes.is_first:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_partial_files(self.folder)
            is_last = self.iteration == self.recipe.optimizer.iterations
            log.rewind(self.iteration, drop_scores=is_last or self.evaluation_pending)
            if leak := describe_leak(self.entry({}), self.val_set):
                self.say(f"Warning: {leak}")
            if self.recipe.output.tensorboard:
                self.board = Board(self.folder, first_iteration=self.iteration)
                log.listener = self.board.show_values
            if not self.resume:
                write_file_list(self.folder, self.train_set, self.val_set)
                save_checkpoint(self.checkpoint_path, self.state())
        return log

    def _train(self, log: RunLog, signals: list[int], batches: Batches) -> None:
        """The training loop."""
        recipe, total = self.recipe, self.recipe.optimizer.iterations
        recent = RecentSteps()
        is_stopping = False
        while self.iteration < total and not is_stopping:
            if self.evaluation_pending:
                self._evaluate(log, signals)
                is_stopping = self.processes.any(bool(signals))
                continue

            start, waited_s = time.monotonic(), self.stepper.waited_s
            loss = self.step(batches)
            recent.losses.append(loss)
            recent.seconds.append(time.monotonic() - start)
            recent.waited_s += self.stepper.waited_s - waited_s
            self.processes.run_collectively(partial(check_loss, loss, self.iteration, self.folder))
            is_stopping = self.processes.any(bool(signals))

            is_last = self.iteration == total
            self._report_progress(loss, recent)
            if self.iteration % recipe.output.log_every == 0 or is_last:
                self._log_steps(log, recent)
                recent = RecentSteps()

            every = recipe.output.evaluate_every
            self.evaluation_pending = every > 0 and self.iteration % every == 0 and not is_last
            if (
                self.iteration % recipe.output.checkpoint_every == 0
                or self.evaluation_pending  # a kill during the evaluation must not lose steps
                or is_last
                or is_stopping
            ):
                self._save_checkpoint()

    def batches(self) -> Generator[tuple[Tensor, Tensor]]:
        """Yield this process's batches from the current iteration to the last."""
        recipe = self.recipe
        transform = TrainTransform(
            recipe.preprocess,
            recipe.augment.crop_hw,
            recipe.augment.scales,
            recipe.augment.mirror,
            recipe.network.align_corners,
        )
        # Per iteration over all processes: positions do not depend on the number of processes.
        samples = recipe.optimizer.batch_size * recipe.optimizer.accumulate
        return stream_batches(
            TrainingStream(self.train_set, transform, seed=recipe.seed),
            start=self.iteration * samples,
            stop=recipe.optimizer.iterations * samples,
            batch_size=self.stepper.batch_size,
            workers=recipe.data.workers,
            share=(self.processes.rank, self.processes.count),
            pin_memory=self.device.type == "cuda",
        )

    def step(self, batches: Batches) -> float:
        """Take one step of the optimizer; returns the summed loss, averaged over micro-batches."""
        loss = self.stepper.step(batches, self.iteration)
        self.iteration += 1
        if self.averaged_model is not None:
            decay = min(self.recipe.optimizer.ema_decay, self.iteration / (self.iteration + 9))
            update_average(self.averaged_model, self.model, decay)
        return loss

    def _report_progress(self, loss: float, recent: RecentSteps) -> None:
        if self.progress is not None:
            total = self.recipe.optimizer.iterations
            self.progress(
                Progress(self.iteration, total, loss, recent.mean_seconds, recent.data_wait)
            )

    def _log_steps(self, log: RunLog, recent: RecentSteps) -> None:
        if not self.processes.is_first:
            return
        seconds = recent.mean_seconds
        left_s = seconds * (self.recipe.optimizer.iterations - self.iteration)
        rate = self.optimizer.param_groups[0]["lr"]
        log.write(
            self.iteration,
            f"{self.iteration:6d}/{self.recipe.optimizer.iterations}  loss {recent.mean_loss:.3f}  "
            f"lr {rate:.2e}  {seconds:.2f} s/it, {recent.data_wait:.0%} of it for data  "
            f"{format_duration(left_s)} left",
            loss=round(recent.mean_loss, 5),
            learning_rate=rate,
            seconds_per_iteration=round(seconds, 3),
            data_wait=round(recent.data_wait, 3),
        )
        if self.board is not None:
            self.board.show_rates(self.iteration, self.optimizer)

    def _save_checkpoint(self) -> None:
        if self.processes.is_first:
            check_weights(self.model, self.iteration, self.folder)
            save_checkpoint(self.checkpoint_path, self.state())

    def evaluated_model(self) -> DeepLab:
        """Copy the network that is evaluated and saved: the moving average if there is one."""
        model = copy.deepcopy(self.model if self.averaged_model is None else self.averaged_model)
        model.set_output_stride(self.model.output_stride)
        return model.eval()

    def _evaluate(self, log: RunLog, signals: list[int]) -> None:
        """Evaluate the current weights, in the first process; a signal cuts it short."""
        if self.processes.is_first:
            with contextlib.suppress(StoppedError):
                self._evaluate_and_keep_best(log, signals)
        self.evaluation_pending = False

    def _evaluate_and_keep_best(self, log: RunLog, signals: list[int]) -> None:
        model = self.evaluated_model()
        segmenter = Segmenter((model, self.entry({})), device=str(self.device))
        report = evaluate(segmenter, self.val_set, progress=raise_if_stopping(signals))
        log.write_report(self.iteration, report, output_stride=self.model.output_stride)
        if self.board is not None:
            self.board.show_predictions(self.iteration, segmenter, self.val_set)
        if report.miou > self.best_miou:
            self.best_miou = report.miou
            self._save_weights(self.folder / "best.safetensors", model, report)

    def _finish(self, log: RunLog, signals: list[int]) -> Path:
        """Write the final weights, their scores and the report."""
        path = self.folder / f"{self.recipe.name}.safetensors"
        self.model.set_output_stride(self.recipe.network.output_stride)
        model = self.evaluated_model()
        self._save_weights(path, model, None)
        stored = load_model(path)  # evaluate the rounded weights, as users load them
        segmenter = Segmenter(stored, device=str(self.device), scales=self.recipe.scales)
        report = evaluate(segmenter, self.val_set, progress=raise_if_stopping(signals))
        log.write_report(self.iteration, report, output_stride=self.model.output_stride)
        self._save_weights(path, model, report)
        if report.miou > self.best_miou:
            self._save_weights(self.folder / "best.safetensors", model, report)
        self.say(f"wrote {path}")
        if self.board is not None:
            self.board.show_predictions(self.iteration, segmenter, self.val_set)
            self.board.close()
        write_record(self.folder, self.recipe, report, device=str(self.device))
        self.say(f"wrote {write_report(self.folder, device=str(self.device))}")
        return path

    def _save_weights(self, path: Path, model: nn.Module, report: Report | None) -> None:
        metrics = {}
        if report is not None and describe_leak(self.entry({}), self.val_set) is None:
            metrics = metrics_of(report, self.recipe.scales)
        dtype = torch.float16 if self.recipe.output.half else torch.float32
        save_weights(path, model.state_dict(), self.entry(metrics), dtype=dtype)

    def entry(self, metrics: dict[str, dict[str, float]]) -> Entry:
        """Return the entry of this run's weights."""
        return describe_weights(
            self.recipe,
            self.model.options,
            self.train_set,
            init_trained_on=self.init_trained_on,
            metrics=metrics,
        )

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        average = None if self.averaged_model is None else self.averaged_model.state_dict()
        return {
            "iteration": self.iteration,
            "model": self.model.state_dict(),
            "average": average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.stepper.state(),
            "best_miou": self.best_miou,
            "evaluation_pending": self.evaluation_pending,
            "init_trained_on": list(self.init_trained_on),
            "recipe": to_table(self.recipe),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint's state.

        Raises:
            InputError: If it belongs to another recipe; the first key that differs is named.
        """
        state = {RENAMED_KEYS.get(key, key): value for key, value in state.items()}
        saved_recipe = recipe_from_table(state["recipe"])  # adds keys that are newer than the file
        check_same_recipe(to_table(self.recipe), to_table(saved_recipe))
        self.model.load_state_dict(state["model"])
        if self.averaged_model is not None:
            self.averaged_model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stepper.load_state(state.get("scaler", {}))
        self.iteration = state["iteration"]
        self.best_miou = state["best_miou"]
        self.evaluation_pending = state.get("evaluation_pending", False)
        self.init_trained_on = tuple(state.get("init_trained_on", ()))
