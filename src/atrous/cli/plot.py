"""`atrous plot`: the architecture of a network as an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from .network import network_arguments, summarise_network
from .options import FILE


@click.command()
@network_arguments
@click.option(
    "-o",
    "--output",
    type=FILE,
    required=True,
    help="File to write: .svg, .png or .pdf.",
)
@click.option("--layers", is_flag=True, help="Draw every convolution instead of stages.")
def command(output: Path, layers: bool, **network: Any) -> None:
    """Draw the architecture of the network NAME, such as deeplabv2_resnet101."""
    from ..describe import checked_suffix, draw

    try:
        checked_suffix(output)
    except InputError as error:
        raise click.UsageError(str(error)) from error
    summary = summarise_network(**network)
    draw(summary, output, layers=layers)
    click.echo(f"wrote {output}")
