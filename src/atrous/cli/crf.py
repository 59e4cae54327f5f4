"""`atrous crf`: the dense CRF on saved scores of any model, or on label masks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ..crf import CRFParams
from ..errors import DataError, InputError
from ..progress import ProgressBar
from ..tables import field_types
from .batch import list_failures
from .options import COUNT, FOLDER, PATH, dataclass_options

if TYPE_CHECKING:
    from ..batch_crf import FolderResult

POSITIVE = click.FloatRange(0, min_open=True)


@click.command()
@click.option("--images", required=True, type=FOLDER, help="Folder of the images.")
@click.option("--probabilities", type=FOLDER, help="Folder of scores, STEM.npy or STEM.npz.")
@click.option("--labels", type=FOLDER, help="Instead of scores: folder of label masks, STEM.png.")
@click.option("-o", "--output", required=True, type=PATH, help="Folder for the results.")
@click.option(
    "--write",
    type=click.Choice(["labels", "probabilities", "both"]),
    default="labels",
    show_default=True,
    help="Results to write.",
)
@click.option("--overwrite", is_flag=True, help="Overwrite existing results.")
@click.option(
    "--logits", is_flag=True, default=None, help="The scores are logits; apply the softmax."
)
@click.option(
    "--background",
    type=POSITIVE,
    metavar="SCORE",
    help="The scores lack class 0, the background; give it this score.",
)
@click.option(
    "--background-power",
    type=POSITIVE,
    metavar="POWER",
    help="The same with the score (1 - highest score)^POWER.",
)
@click.option(
    "--gt-prob",
    metavar="P",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="With --labels: probability of the label in the mask.  [default: 0.7]",
)
@click.option(
    "--unsure",
    "unsure_label",
    type=int,
    metavar="LABEL",
    help="With --labels: label of the pixels without a class.  [default: 255]",
)
@click.option(
    "--num-classes",
    type=click.IntRange(1, 65536),
    metavar="N",
    help="With --labels: number of classes.  [default: the classes in each mask]",
)
@dataclass_options(CRFParams)
@click.option(
    "--accuracy",
    type=click.Choice(["lattice", "high"]),
    default="lattice",
    show_default=True,
    help="lattice: as pydensecrf; high: closer to the exact result, and slower.",
)
@click.option(
    "--prune-below",
    type=float,
    default=0.0,
    show_default=True,
    help="Merge classes whose probability is below this in every pixel; 0.001 saves most of the "
    "time.",
)
@click.option(
    "--workers",
    type=COUNT,
    help="Images at a time, with one thread each; 1 uses all threads for one image.  "
    "[default: one per core]",
)
def command(images: Path, output: Path, **options: Any) -> None:
    """Refine saved class scores, or label masks, along the edges of their images.

    \b
    Files are matched by stem: PROBABILITIES/STEM.npy or .npz (or LABELS/STEM.png)
    and IMAGES/STEM.jpg, .png … become
      OUTPUT/STEM.png  class indices, with PASCAL VOC's colours as palette
      OUTPUT/STEM.npz  with --write probabilities or both: `unary`, `step` and
                       `names`; exp(-step * unary) is (classes, rows, columns)

    \b
    A file of scores holds one of these:
      * an array (classes, rows, columns) of the image's size: float16, float32,
        float64, or uint8 for 0 to 1 in 255 steps. In an .npz file of several
        arrays it is the one called `probabilities`.
      * the output of `atrous segment --probabilities`.
      * class activation maps, with --background or --background-power: `keys`
        with `high_res` or `cam`, or one map per class number. Class c becomes
        label c + 1, and 0 is the background.

    Existing results are skipped, so that an interrupted run resumes. Images that fail are listed at
    the end; the others are still processed.
    """  # noqa: D301 (click reads \b)
    from ..batch_crf import refine_folder

    try:
        params = CRFParams(**{name: options.pop(name) for name in field_types(CRFParams)})
        with ProgressBar() as bar:
            result = refine_folder(images, output, params=params, progress=bar.update, **options)
    except DataError:
        raise  # about files, not about the command's options
    except InputError as error:
        raise click.UsageError(str(error)) from error
    _report(result, "mask" if options["labels"] else "scores")


def _report(result: FolderResult, kind: Literal["mask", "scores"]) -> None:
    done, failed = len(result.refined), len(result.failed)
    if result.left_out:
        first = result.left_out[0].name
        click.echo(f"{len(result.left_out)} images have no {kind} and are left out, first {first}")
    if result.skipped:
        count = len(result.skipped)
        click.echo(f"skipped {count} images whose results exist; --overwrite repeats them")
    if done or result.seconds:
        click.echo(
            f"{done} of {done + failed} images refined in {result.seconds:.1f} s "
            f"({done / result.seconds:.2f} images/s); results are in {result.output}/"
        )
    list_failures([(str(path), reason) for path, reason in result.failed.items()])
