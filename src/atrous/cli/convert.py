"""`atrous convert`: weight files of other projects to .safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import PATH, parse_rates

if TYPE_CHECKING:
    from ..weights import Entry
    from ..weights.convert import Conversion

# Data sets whose class names are known: the keys of `LABEL_SETS`, which loads numpy.
DATASETS = (
    "voc", "pascal_context", "person_part", "cityscapes", "coco_stuff", "ade20k", "camvid",
)  # fmt: skip


@click.command()
@click.argument("file", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="The .safetensors file to write.")
@click.option("--classes", type=PATH, help="Text file with one class name per line.")
@click.option("--dataset", type=click.Choice(DATASETS), help="Use the class names of a data set.")
@click.option(
    "--rates",
    callback=parse_rates,
    metavar="N,N,…",
    help="Atrous rates of the head, such as 6,12, if the file does not determine them.",
)
@click.option(
    "--licence", default="unknown", show_default=True, help="Licence of the weights, for the entry."
)
@click.option(
    "--trained-on",
    multiple=True,
    metavar="DATASET/SPLIT",
    help="Training data, such as voc2012/trainval, so that evaluate warns of leaks; may be "
    "repeated.",
)
@click.option("--half", is_flag=True, help="Store filters as float16, in half the size.")
def command(
    file: Path,
    output: Path,
    classes: Path | None,
    dataset: str | None,
    rates: tuple[int, ...] | None,
    licence: str,
    trained_on: tuple[str, ...],
    half: bool,
) -> None:
    """Convert FILE, a .caffemodel or .pth file of another project, to a .safetensors file.

    Supported are the original Caffe networks, kazuto1011, isht7, AdaptSegNet, torchvision's ResNets
    and the EfficientNet-Lite0 package. The names in the file identify the project.
    """
    if output.suffix != ".safetensors":
        raise click.BadParameter(f"{output} must end in .safetensors", param_hint="--output")
    if classes is not None and dataset is not None:
        raise click.UsageError("--classes and --dataset both name the classes; give one of them")
    import torch

    from ..weights.checkpoint import save_weights
    from ..weights.convert import read_foreign
    from ..weights.convert.classes import LABEL_SETS
    from ..weights.convert.naming import make_entry, read_class_names

    label_set = read_class_names(classes) if classes else LABEL_SETS[dataset] if dataset else None
    num_classes = label_set.num_classes if label_set else None
    conversion = read_foreign(file, rates=rates, num_classes=num_classes)
    entry = make_entry(
        conversion,
        file,
        name=output.stem,
        label_set=label_set,
        licence=licence,
        trained_on=trained_on,
    )
    save_weights(output, conversion.state, entry, dtype=torch.float16 if half else torch.float32)
    _report(conversion, entry, file, output, has_names=label_set is not None)


def _report(
    conversion: Conversion, entry: Entry, file: Path, output: Path, *, has_names: bool
) -> None:
    from ..weights.description import describe_input

    options = ", ".join(f"{k}={v}" for k, v in conversion.options.items() if k != "name")
    click.echo(f"{file}: {conversion.layout}")
    click.echo(f"  network  {conversion.options['name']}: {options}")
    click.echo(f"  input    {describe_input(entry)}")
    for note in conversion.notes:
        click.echo(f"  note     {note}")
    if not has_names:
        click.echo("  note     classes are numbered; name them with --classes or --dataset")
    click.echo(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")
    if conversion.is_head_new:
        click.echo(f'next: train its head; in a recipe: init = "{output}"')
    else:
        click.echo(f"next: atrous segment IMAGE -o OUTPUT --weights {output}")
