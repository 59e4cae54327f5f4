"""`atrous convert`: other projects' weight files into one that this program uses."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError

if TYPE_CHECKING:
    from ..labels import LabelSet
    from ..weights import Entry
    from ..weights.convert import Conversion

# Data sets whose classes can be named in a word.
DATASETS = (
    "voc", "pascal_context", "person_part", "cityscapes", "coco_stuff", "ade20k", "camvid",
)  # fmt: skip


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="A .safetensors file."
)
@click.option(
    "--classes", type=click.Path(path_type=Path), help="Text file, one class name a line."
)
@click.option(
    "--dataset", type=click.Choice(DATASETS), help="Name the classes as this data set does."
)
@click.option("--rates", help="Atrous rates of the head, where the file cannot tell: 6,12.")
@click.option("--licence", default="unknown", help="Licence of the weights, for their entry.")
@click.option(
    "--trained-on",
    multiple=True,
    metavar="DATASET/SPLIT",
    help="Training data, e.g. voc2012/trainval: evaluate then warns of leaks; may be repeated.",
)
@click.option("--half", is_flag=True, help="Store the filters as float16: half the size.")
def command(
    file: Path,
    output: Path,
    classes: Path | None,
    dataset: str | None,
    rates: str | None,
    licence: str,
    trained_on: tuple[str, ...],
    half: bool,
) -> None:
    """Convert FILE, a .caffemodel or .pth of another project, to a .safetensors file.

    Understood are the original Caffe networks, kazuto1011, isht7, AdaptSegNet, torchvision's
    ResNets and the EfficientNet-Lite0 package, recognised by the names in the file.
    """
    if output.suffix != ".safetensors":
        raise click.BadParameter(f"{output} must end in .safetensors", param_hint="--output")
    if classes is not None and dataset is not None:
        raise click.UsageError("--classes and --dataset both name the classes; give one of them")
    atrous_rates = _parse_rates(rates)

    import torch

    from ..weights.checkpoint import save_weights
    from ..weights.convert import KNOWN_TRAINING, read_foreign

    label_set = _named_classes(classes, dataset)
    num_classes = label_set.num_classes if label_set else None
    conversion = read_foreign(file, rates=atrous_rates, num_classes=num_classes)
    entry = dataclasses.replace(
        _entry(conversion, file, name=output.stem, label_set=label_set, licence=licence),
        trained_on=trained_on or KNOWN_TRAINING.get(file.stem, ()),
    )
    save_weights(output, conversion.state, entry, dtype=torch.float16 if half else torch.float32)
    _report(conversion, entry, file, output, has_names=label_set is not None)


def _parse_rates(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        rates = tuple(int(item) for item in text.split(","))
    except ValueError:
        rates = ()
    if not rates or min(rates) < 1:
        raise click.BadParameter(
            f"{text!r} is not a list of whole numbers such as 6,12", param_hint="--rates"
        )
    return rates


def _named_classes(classes: Path | None, dataset: str | None) -> LabelSet | None:
    from ..labels import LabelSet, voc_palette
    from ..weights.convert.classes import LABEL_SETS

    if dataset is not None:
        return LABEL_SETS[dataset]
    if classes is None:
        return None
    lines = classes.read_text(encoding="utf-8").splitlines()
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise InputError(f"{classes} is empty; write one class name a line, class 0 first")
    return LabelSet(names, voc_palette(len(names)), _ignore_index(len(names)))


def _numbered_classes(num_classes: int) -> LabelSet:
    from ..labels import LabelSet, voc_palette

    names = tuple(f"class {index}" for index in range(num_classes))
    return LabelSet(names, voc_palette(num_classes), _ignore_index(num_classes))


def _ignore_index(num_classes: int) -> int | None:
    return 255 if num_classes <= 255 else None


def _entry(
    conversion: Conversion, file: Path, *, name: str, label_set: LabelSet | None, licence: str
) -> Entry:
    from ..network_options import NetworkOptions
    from ..weights import Entry

    return Entry(
        name=name,
        options=NetworkOptions(**conversion.options),
        label_set=label_set or _numbered_classes(conversion.options["num_classes"]),
        preprocess=conversion.preprocess,
        crf=conversion.crf,
        licence=licence,
        notice="" if licence != "unknown" else "see the terms of those who published the weights",
        source=f"{file.name}, of {conversion.layout}",
        recipe=f"atrous convert {file.name}",
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def _report(
    conversion: Conversion, entry: Entry, file: Path, output: Path, *, has_names: bool
) -> None:
    from .weights import describe_input

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
        click.echo(f"next: atrous segment PHOTO -o OUT --weights {output}")
