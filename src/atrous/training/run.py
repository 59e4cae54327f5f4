"""A training run, from a recipe to a file of weights."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Generator
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
from .init_weights import load_initial
from .log import Progress, RunLog, format_duration
from .optimizer import freeze, make_optimizer, update_average
from .process import StoppedError, keep_freed_memory, raise_if_stopping, stop_signals
from .recipe import Recipe, load_recipe, recipe_from_table
from .record import describe_weights, leave_record, list_files, name_scores
from .step import COARSE_STRIDE, Batches, Stepper
from .tensorboard import Board


def train(
    recipe: str | PathLike[str] | Recipe,
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
        recipe: A TOML file, or a `Recipe`.
        output: Folder of the run; runs/NAME by default.
        device: `cpu`, `cuda`, `mps` …
        resume: Go on from the folder's checkpoint, or from the beginning where the run was killed
            before its first one.
        say: Receives the lines meant for people.
        progress: Called after each step.

    Returns:
        The file of weights; where the run was interrupted, the checkpoint.

    Raises:
        InputError: If recipe, data and weights do not fit each other, or the run's folder is in
            use.
        FileNotFoundError: If data, or the folder to resume from, is missing.
        TrainingError: If the loss is no longer finite; the last checkpoint stays as it was.
        ConnectionError: If another process of the run was killed or crashed.
        SystemExit: In the other processes, where one has failed; the first raises what it was.
    """

    def prepare(processes: Processes) -> Run:
        loaded = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
        folder = Path(output) if output is not None else Path("runs") / loaded.name
        has_checkpoint = (folder / "checkpoint.pt").exists()
        if has_checkpoint and not resume:
            raise InputError(f"{folder} holds a run already; resume it, or choose another folder")
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
        self.init_trained_on: tuple[str, ...] = ()  # data sets that trained the initial weights
        if not resume:
            new, self.init_trained_on = load_initial(self.model, recipe.init)
            count = len(list(self.model.parameters()))
            self.say(f"{recipe.network.name}: {len(new)} of {count} parameter tensors begin anew")
        if recipe.loss.coarse_iterations:  # refused here rather than at the first step
            self.model.set_output_stride(COARSE_STRIDE)
            self.model.set_output_stride(recipe.network.output_stride)
        self.model.to(self.device)
        if recipe.compute.channels_last:
            # nn.Module.to takes a memory format, but no signature of it says so.
            self.model.to(memory_format=torch.channels_last)  # pyright: ignore
        has_average = recipe.optimizer.ema_decay > 0 and processes.is_first
        self.average = copy.deepcopy(self.model) if has_average else None
        if recipe.optimizer.sync_bn and processes.count > 1:
            sync_batch_norms(self.model)
        self.kept = freeze(self.model, recipe.optimizer)
        self.optimizer = make_optimizer(self.model, recipe.optimizer)
        class_weights = count_class_weights(self.train_set, recipe.loss.class_weight_power)
        self.stepper = Stepper(
            self.model,
            self.optimizer,
            recipe,
            kept=self.kept,
            class_weights=None if class_weights is None else class_weights.to(self.device),
            device=self.device,
            processes=processes,
        )
        self.iteration = 0
        self.best_miou = 0.0
        self.evaluation_pending = False  # of this iteration: they follow its checkpoint
        self.board: Board | None = None
        self.data_wait = 0.0  # share of the last steps' time in which they waited for data

    def execute(self) -> Path:
        """Train to the end or to an interrupt; see `train`."""
        if self.device.type == "cpu":
            keep_freed_memory()
        log = self.processes.run_collectively(self._open)
        self.stepper.connect()
        with stop_signals() as stopped:
            with contextlib.closing(self._batches()) as batches:
                self._iterate(log, stopped, batches)  # closed, or workers would outlive an error
            if self.iteration == self.recipe.optimizer.iterations:
                if not self.processes.is_first:
                    return self.folder / f"{self.recipe.name}.safetensors"
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
            is_last = self.iteration == self.recipe.optimizer.iterations
            log.rewind(self.iteration, is_unscored=is_last or self.evaluation_pending)
            if leak := describe_leak(self.entry({}), self.val_set):
                self.say(f"Warning: {leak}")
            if self.recipe.output.tensorboard:
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
        recipe, total = self.recipe, self.recipe.optimizer.iterations
        losses: list[float] = []  # since the last log line, as are the seconds and the wait
        seconds: list[float] = []
        waited_s = 0.0
        is_stopping = False
        while self.iteration < total and not is_stopping:
            if self.evaluation_pending:
                if self.processes.is_first:
                    with contextlib.suppress(StoppedError):
                        self._evaluate_and_keep(log, stopped)
                self.evaluation_pending = False
                is_stopping = self.processes.any(bool(stopped))
                continue
            start = time.monotonic()
            losses.append(self.step(batches))
            seconds.append(time.monotonic() - start)
            self.processes.run_collectively(
                partial(check_loss, losses[-1], self.iteration, self.folder)
            )
            is_stopping = self.processes.any(bool(stopped))
            self.data_wait = (self.stepper.waited_s - waited_s) / max(sum(seconds), 1e-9)
            self._show(losses[-1], float(np.mean(seconds)))
            is_last = self.iteration == total
            if self.iteration % recipe.output.log_every == 0 or is_last:
                if self.processes.is_first:
                    self._log_step(log, float(np.mean(losses)), float(np.mean(seconds)))
                losses, seconds, waited_s = [], [], self.stepper.waited_s
            self._keep(is_due=is_last or is_stopping)

    def _keep(self, *, is_due: bool) -> None:
        """Write a checkpoint where it is time to; always before the network is scored."""
        output, total = self.recipe.output, self.recipe.optimizer.iterations
        is_scored = output.evaluate_every and self.iteration % output.evaluate_every == 0
        self.evaluation_pending = bool(is_scored) and self.iteration < total
        is_due = is_due or self.evaluation_pending or self.iteration % output.checkpoint_every == 0
        if is_due and self.processes.is_first:
            check_weights(self.model, self.iteration, self.folder)
            save_checkpoint(self.checkpoint_path, self.state())

    def _show(self, loss: float, seconds: float) -> None:
        if self.progress is not None:
            total = self.recipe.optimizer.iterations
            self.progress(Progress(self.iteration, total, loss, seconds, self.data_wait))

    def _batches(self) -> Generator[tuple[Tensor, Tensor]]:
        recipe = self.recipe
        transform = TrainTransform(
            recipe.preprocess,
            recipe.augment.crop_hw,
            recipe.augment.scales,
            recipe.augment.mirror,
            recipe.network.align_corners,
        )
        # Of one iteration, in all processes together: positions do not depend on their number.
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
        total = self.stepper.step(batches, self.iteration)
        self.iteration += 1
        if self.average is not None:
            decay = min(self.recipe.optimizer.ema_decay, self.iteration / (self.iteration + 9))
            update_average(self.average, self.model, decay)
        return total

    def _log_step(self, log: RunLog, loss: float, seconds: float) -> None:
        left = seconds * (self.recipe.optimizer.iterations - self.iteration)
        rate = self.optimizer.param_groups[0]["lr"]
        log.write(
            self.iteration,
            f"{self.iteration:6d}/{self.recipe.optimizer.iterations}  loss {loss:.3f}  "
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
        report = evaluate(segmenter, self.val_set, progress=raise_if_stopping(stopped))
        log.write_report(self.iteration, report, output_stride=self.model.output_stride)
        if self.board is not None:
            self.board.show_predictions(self.iteration, segmenter, self.val_set)
        if report.miou > self.best_miou:
            self.best_miou = report.miou
            self._save(self.folder / "best.safetensors", model, report)

    def _finish(self, log: RunLog, stopped: list[int]) -> Path:
        path = self.folder / f"{self.recipe.name}.safetensors"
        self.model.set_output_stride(self.recipe.network.output_stride)
        model = self.evaluated_model()
        self._save(path, model, None)
        stored = load_model(path)  # score what users will load, rounding included
        segmenter = Segmenter(stored, device=str(self.device), scales=self.recipe.scales)
        report = evaluate(segmenter, self.val_set, progress=raise_if_stopping(stopped))
        log.write_report(self.iteration, report, output_stride=self.model.output_stride)
        self._save(path, model, report)
        if report.miou > self.best_miou:
            self._save(self.folder / "best.safetensors", model, report)
        self.say(f"wrote {path}")
        if self.board is not None:
            self.board.show_predictions(self.iteration, segmenter, self.val_set)
            self.board.close()
        leave_record(self.folder, self.recipe, report, device=str(self.device))
        self.say(f"wrote {write_report(self.folder, device=str(self.device))}")
        return path

    def _save(self, path: Path, model: nn.Module, report: Report | None) -> None:
        metrics = {}
        if report is not None and describe_leak(self.entry({}), self.val_set) is None:
            metrics = name_scores(report, self.recipe.scales)
        dtype = torch.float16 if self.recipe.output.half else torch.float32
        save_weights(path, model.state_dict(), self.entry(metrics), dtype=dtype)

    def entry(self, metrics: dict[str, dict[str, float]]) -> Entry:
        """Describe this run's weights."""
        return describe_weights(
            self.recipe,
            self.model.options,
            self.train_set,
            init_trained_on=self.init_trained_on,
            metrics=metrics,
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
            "evaluation_pending": self.evaluation_pending,
            "init_trained_on": list(self.init_trained_on),
            "recipe": to_table(self.recipe),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint's state.

        Raises:
            InputError: If it belongs to another recipe; the first key that differs is named.
        """
        state = {RENAMED_KEYS.get(key, key): value for key, value in state.items()}
        theirs = recipe_from_table(state["recipe"])  # fills in what an older version did not have
        check_same_recipe(to_table(self.recipe), to_table(theirs))
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.stepper.load_state(state.get("scaler", {}))
        self.iteration = state["iteration"]
        self.best_miou = state["best_miou"]
        self.evaluation_pending = state.get("evaluation_pending", False)
        self.init_trained_on = tuple(state.get("init_trained_on", ()))
