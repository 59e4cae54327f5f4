"""`atrous train`: from a recipe to weights."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..progress import ProgressBar
from .options import PATH, device_option

if TYPE_CHECKING:
    from ..training.log import Progress


@click.command()
@click.argument("recipe", type=PATH)
@click.option("--data", type=PATH, help="Folder of the data set.")
@click.option(
    "--val-data",
    type=PATH,
    help="Folder of the validation data set, if the recipe names a separate one.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="Folder of the run.  [default: runs/NAME]",
)
@click.option("--resume", is_flag=True, help="Resume from the checkpoint in the run's folder.")
@device_option
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Write curves and predictions for TensorBoard to the run's folder.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace a value of the recipe, such as optimizer.iterations=100; may be repeated.",
)
def command(
    recipe: Path,
    data: Path | None,
    val_data: Path | None,
    output: Path | None,
    resume: bool,
    device: str,
    tensorboard: bool,
    assignments: tuple[str, ...],
) -> None:
    """Train a network from RECIPE, a TOML file.

    Ctrl-C finishes the current step and saves a checkpoint, from which --resume continues. For
    several GPUs, start one process per GPU: torchrun --nproc-per-node N -m atrous train …; the
    processes share the recipe's batch.
    """
    from ..evaluation import LeakWarning
    from ..training.distributed import is_first_process
    from ..training.recipe import load_recipe, override
    from ..training.run import train

    loaded = load_recipe(recipe)
    for assignment in assignments:
        loaded = override(loaded, assignment)
    roots = {"root": data, "val_root": val_data}
    given = {key: str(path.expanduser()) for key, path in roots.items() if path is not None}
    loaded = replace(loaded, data=replace(loaded.data, **given))
    if tensorboard:
        loaded = replace(loaded, output=replace(loaded.output, tensorboard=True))
    options: dict[str, Any] = {"output": output, "device": device, "resume": resume}
    with warnings.catch_warnings(action="ignore", category=LeakWarning):  # the run prints it once
        if not sys.stdout.isatty() or not is_first_process():
            train(loaded, say=click.echo, **options)
            return
        with ProgressBar(unit="", stream=sys.stdout) as bar:

            def show(progress: Progress) -> None:
                text = describe(progress)
                bar.update(progress.iteration, progress.total, text=text)

            bar.update(0, text="first step …")
            train(loaded, say=bar.print, progress=show, **options)


def describe(progress: Progress) -> str:
    """Say how training is going, in one line."""
    from ..training.log import format_duration

    return (
        f"loss {progress.loss:.3f}  {progress.seconds:.2f} s/it, "
        f"{progress.data_wait:.0%} of it for data  {format_duration(progress.left_s)} left"
    )
