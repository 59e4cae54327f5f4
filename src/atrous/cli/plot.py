"""`atrous plot`: a picture of a network's architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from .network import network_options, summarise_network


@click.command()
@network_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File to write; its suffix says in which format: .svg, .png or .pdf.",
)
@click.option("--layers", is_flag=True, help="Draw every convolution; otherwise stages are drawn.")
def command(output: Path, layers: bool, **network: Any) -> None:
    """Draw the network NAME, such as deeplabv2_resnet101."""
    from ..describe import checked_suffix, draw

    try:
        checked_suffix(output)
    except InputError as error:
        raise click.UsageError(str(error)) from error
    summary = summarise_network(**network)
    try:
        draw(summary, output, layers=layers)
    except ImportError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from error
    click.echo(f"wrote {output}")
