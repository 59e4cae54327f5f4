"""`atrous tune-crf`: the best CRF parameters for a network, and whether the CRF helps it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .batch import images_progress
from .parameters import parse_scales

if TYPE_CHECKING:
    from rich.table import Table

    from ..predict import Segmenter
    from ..tune_crf import Progress, Tuning

PATH = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)


@click.command()
@click.argument("dataset")
@click.argument("root", type=PATH)
@click.option("--split", help="Which images.  [default: val or what stands for it]")
@click.option(
    "--weights", default="street-lite", show_default=True, help="Name or file of weights."
)
@click.option("--scales", callback=parse_scales, help="Input scales to fuse, e.g. 1,0.75,0.5.")
@click.option("--flip", is_flag=True, help="Average with the mirror image.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, mps …")
@click.option("-o", "--output", type=PATH, help="Write weights with the result to this new file.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@click.option(
    "--work", type=PATH, help="Folder of the search.  [default: tune-crf-NAME of the weights]"
)
@click.option(
    "--probabilities",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of scores NAME.npz or .npy to use instead of the network's.",
)
@click.option(
    "--search-images", type=COUNT, help="How many to search on.  [default: 100, at most half]"
)
@click.option("--report-images", type=COUNT, help="How many to report on.  [default: the others]")
@click.option(
    "--spatial-weight", type=float, default=3, show_default=True, help="Of the kernel that is kept."
)
@click.option(
    "--spatial-xy-std", type=float, default=1, show_default=True, help="Its width in pixels."
)
@click.option("--resamples", type=COUNT, default=1000, show_default=True, help="Of the bootstrap.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws images and resamples.")
@click.option(
    "--workers", type=COUNT, help="Images at a time, one thread each.  [default: one a core]"
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
    probabilities: Path | None,
    search_images: int | None,
    report_images: int | None,
    spatial_weight: float,
    spatial_xy_std: float,
    resamples: int,
    seed: int,
    workers: int | None,
) -> None:
    """Search the CRF's parameters on DATASET (camvid, folder …) in the folder ROOT.

    The weight and the two widths of the bilateral kernel are searched as in the paper: weight 3 to
    6, 30 to 100 pixels, 3 to 6 grey levels; then among the neighbours of the best, half a step away
    and a quarter, until none is better. The other kernel is kept, and there are 10 iterations. The
    images are drawn from the split: one part is searched on, and the gain is measured on the other.

    With -o, the parameters are written into a copy of the weights. The CRF is on by default in
    it only if its gain in mean IoU is surely above 0.

    The network runs once an image. A search that was stopped goes on when the command is given
    again.
    """
    from ..data import load_dataset, usual_splits
    from ..predict import Segmenter
    from ..tune_crf import Grid, tune

    _check_output(output, overwrite=overwrite)
    samples = load_dataset(dataset, root, split=split or usual_splits(dataset)[-1])
    segmenter = Segmenter(weights, device=device, crf=False, scales=scales, flip=flip)
    folder = work or Path(f"tune-crf-{segmenter.entry.name}")
    try:
        with _stages() as progress:
            tuning = tune(
                segmenter,
                samples,
                folder,
                probabilities=probabilities,
                search_images=search_images,
                report_images=report_images,
                grid=Grid(spatial_weight=spatial_weight, spatial_xy_std=spatial_xy_std),
                seed=seed,
                resamples=resamples,
                workers=workers,
                progress=progress,
                say=click.echo,
            )
    except KeyboardInterrupt:
        click.echo(f"The same command goes on from {folder}.", err=True)
        raise
    _print(tuning)
    if output is not None:
        _save(segmenter, tuning, output.expanduser(), given=probabilities is not None)
        click.echo(f"wrote {output}")


def _check_output(output: Path | None, *, overwrite: bool) -> None:
    """Refuse a place that cannot or shall not be written, before the search."""
    if output is None:
        return
    path = output.expanduser()
    if path.suffix != ".safetensors":
        raise click.UsageError(f"{output}: weights are written as .safetensors")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder; make it first")
    if path.exists() and not overwrite:
        raise click.UsageError(f"{output} is there; choose another name, or give --overwrite")


@contextmanager
def _stages() -> Generator[Progress]:
    """Show a line of progress for each stage, one after the other."""
    with ExitStack() as stack:
        stage = ""
        advance: Callable[[], None] = lambda: None  # noqa: E731 (replaced by the first stage)

        def update(what: str, done: int, total: int) -> None:
            nonlocal stage, advance
            if what != stage:
                stack.close()
                stage, advance = what, stack.enter_context(images_progress(total, what))
            advance()
            if done == total:
                stack.close()
                stage = ""  # the next one may bear the same name

        yield update


def _print(tuning: Tuning) -> None:
    from rich.console import Console

    p = tuning.params
    click.echo(
        f"Best of {tuning.points}: bilateral weight {p.bilateral_weight:g}, "
        f"{p.bilateral_xy_std:g} px, {p.bilateral_rgb_std:g} grey levels; mean IoU of the "
        f"{len(tuning.searched)} searched images {tuning.search_miou[0]:.4f} without and "
        f"{tuning.search_miou[1]:.4f} with the CRF"
    )
    Console().print(_table(tuning))
    click.echo(tuning.verdict())


def _table(tuning: Tuning) -> Table:
    from rich.table import Table

    from ..tune_crf import BAND_PX

    table = Table(
        title=f"{tuning.dataset}, {len(tuning.reported)} images that the search did not see",
        caption=f"95 % intervals of {tuning.miou.resamples} resamples of the images",
    )
    table.add_column("mean IoU")
    for column in ("without CRF", "with CRF", "gain", "95 % interval"):
        table.add_column(column, justify="right")
    for name, gain in (
        ("whole images", tuning.miou),
        (f"within {BAND_PX} px", tuning.trimap),
    ):
        interval = f"{gain.low:+.4f} to {gain.high:+.4f}"
        table.add_row(
            name, f"{gain.before:.4f}", f"{gain.after:.4f}", f"{gain.gain:+.4f}", interval
        )
    return table


def _save(segmenter: Segmenter, tuning: Tuning, path: Path, *, given: bool) -> None:
    """Write the same weights with a new entry, in half precision where that loses nothing."""
    how = " scales " + ", ".join(map(str, segmenter.scales)) if len(segmenter.scales) > 1 else ""
    how += " flip" if segmenter.flip else ""
    how = " given probabilities" if given else how
    import torch

    from ..weights import save_weights

    state = segmenter.model.state_dict()
    is_half = all(bool((t.half().float() == t.float()).all()) for t in state.values() if t.ndim > 1)
    save_weights(
        path,
        state,
        tuning.update(segmenter.entry, how),
        dtype=torch.float16 if is_half else torch.float32,
    )
