"""`atrous tune-crf`: the best CRF parameters for a network, and whether the CRF helps it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..crf import CRFParams
from ..progress import ProgressBar
from .options import (
    COUNT,
    FOLDER,
    PATH,
    dataclass_options,
    device_option,
    flip_option,
    scales_option,
    weights_option,
)
from .printing import print_table

if TYPE_CHECKING:
    from ..tune_crf import Tuning


@click.command()
@click.argument("dataset")
@click.argument("root", type=PATH)
@click.option("--split", help="Split to draw images from.  [default: the one that papers score]")
@weights_option
@scales_option
@flip_option
@device_option
@click.option("-o", "--output", type=PATH, help="Write the tuned weights to this new file.")
@click.option("--overwrite", is_flag=True, help="Overwrite an existing file.")
@click.option(
    "--work",
    type=PATH,
    help="Folder for intermediate results.  [default: tune-crf-NAME, from the weights]",
)
@click.option(
    "--probabilities",
    type=FOLDER,
    help="Folder of scores NAME.npz or .npy to use instead of the network's.",
)
@click.option(
    "--search-images", type=COUNT, help="Images to search on.  [default: 100, at most half]"
)
@click.option(
    "--report-images", type=COUNT, help="Images to measure the gain on.  [default: all others]"
)
@dataclass_options(CRFParams, ["spatial_weight", "spatial_xy_std"])
@click.option(
    "--resamples", type=COUNT, default=1000, show_default=True, help="Resamples of the bootstrap."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed for drawing images and resamples."
)
@click.option(
    "--workers", type=COUNT, help="Images at a time, with one thread each.  [default: one per core]"
)
def command(
    dataset: str,
    root: Path,
    split: str | None,
    weights: str,
    scales: tuple[float, ...] | None,
    flip: bool,
    device: str,
    output: Path | None,
    overwrite: bool,
    work: Path | None,
    spatial_weight: float,
    spatial_xy_std: float,
    **options: Any,
) -> None:
    """Search the CRF parameters on DATASET (camvid, folder …) in the folder ROOT.

    The weight and the two widths of the bilateral kernel are searched as in the paper: weight 3 to
    6, 30 to 100 pixels, 3 to 6 grey levels; then around the best point, with steps of a half and a
    quarter, until no neighbour is better. The spatial kernel is fixed, with 10 iterations. The
    images are drawn from the split: some are searched on, and the gain is measured on the others.

    With -o, the parameters are written into a copy of the weights. The CRF is on by default there
    only if the whole 95 % interval of its gain in mean IoU is above 0.

    The network runs once per image. An interrupted search resumes when you repeat the command.
    """
    from ..data import load_dataset, usual_splits
    from ..predict import Segmenter
    from ..tune_crf import Grid, save_tuned, tune

    _check_output(output, overwrite=overwrite)
    samples = load_dataset(dataset, root, split=split or usual_splits(dataset)[-1])
    segmenter = Segmenter(weights, device=device, crf=False, scales=scales, flip=flip)
    folder = work or Path(f"tune-crf-{segmenter.entry.name}")
    grid = Grid(spatial_weight=spatial_weight, spatial_xy_std=spatial_xy_std)
    try:
        with ProgressBar() as bar:
            tuning = tune(
                segmenter,
                samples,
                folder,
                grid=grid,
                progress=bar.update_stage,
                say=click.echo,
                **options,
            )
    except KeyboardInterrupt:
        click.echo(f"Repeat the command to resume from {folder}.", err=True)
        raise
    _print(tuning)
    if output is not None:
        is_given = options["probabilities"] is not None
        save_tuned(output.expanduser(), segmenter, tuning, probabilities_given=is_given)
        click.echo(f"wrote {output}")


def _check_output(output: Path | None, *, overwrite: bool) -> None:
    """Refuse a file that cannot or must not be written, before the search."""
    if output is None:
        return
    path = output.expanduser()
    if path.suffix != ".safetensors":
        raise click.UsageError(f"{output}: weights are written as .safetensors")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder; create it first")
    if path.exists() and not overwrite:
        raise click.UsageError(f"{output} exists; choose another name or add --overwrite")


def _print(tuning: Tuning) -> None:
    from ..score_tables import gain_table

    params, miou = tuning.params, tuning.search_miou
    click.echo(
        f"Best of {tuning.points}: bilateral weight {params.bilateral_weight:g}, "
        f"{params.bilateral_xy_std:g} px, {params.bilateral_rgb_std:g} grey levels; mean IoU of "
        f"the {len(tuning.searched)} searched images {miou[0]:.4f} without and {miou[1]:.4f} with "
        "the CRF"
    )
    print_table(gain_table(tuning))
    click.echo(tuning.verdict())
