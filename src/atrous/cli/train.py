"""`atrous train`: from a recipe to weights."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data set.")
@click.option(
    "--val-data",
    type=click.Path(path_type=Path),
    help="Folder of the data set that is scored, where the recipe names another one for it.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the run; runs/NAME by default.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the run's folder.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps …")
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Write curves and predictions for TensorBoard into the run's folder.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace a value of the recipe, e.g. optimizer.iterations=100; may be repeated.",
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
    """Train a network as RECIPE (a TOML file) says.

    Ctrl-C finishes the step and saves a checkpoint; --resume goes on from it. Several processes,
    one a GPU: torchrun --nproc-per-node N -m atrous train …; they share the recipe's batch.
    """
    from ..evaluation import LeakWarning
    from ..training.distributed import is_first_process
    from ..training.recipe import load_recipe, override
    from ..training.run import train
    from .live import LiveLine

    loaded = load_recipe(recipe)
    for assignment in assignments:
        loaded = override(loaded, assignment)
    roots = {"root": data, "val_root": val_data}
    given = {key: str(path.expanduser()) for key, path in roots.items() if path is not None}
    loaded = replace(loaded, data=replace(loaded.data, **given))
    if tensorboard:
        loaded = replace(loaded, output=replace(loaded.output, tensorboard=True))
    options: dict[str, Any] = {"output": output, "device": device, "resume": resume}
    with warnings.catch_warnings(action="ignore", category=LeakWarning):  # the run says it once
        if not sys.stdout.isatty() or not is_first_process():
            train(loaded, say=click.echo, **options)
            return
        with LiveLine() as line:
            train(loaded, say=line.say, progress=line.show, **options)
