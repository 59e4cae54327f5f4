"""`atrous summary`: the layers, parameters and operations of a network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from .network import network_arguments, summarise_network

if TYPE_CHECKING:
    from rich.table import Table

    from ..describe import Layer, Summary


@click.command()
@network_arguments
@click.option("--layers", is_flag=True, help="List every layer instead of blocks.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
def command(layers: bool, as_json: bool, **network: Any) -> None:
    """Print the layers, parameters and operations of the network NAME.

    `atrous summary deeplabv2_resnet101` describes the paper's network.
    """
    summary = summarise_network(**network)
    if as_json:
        click.echo(json.dumps(summary.to_json(), indent=2))
        return
    from rich.console import Console

    table = _table(summary, layers=layers)
    console = Console(highlight=False)
    # Numbers are never cut; a narrower terminal breaks the lines.
    unlimited = console.options.update(width=1000)
    console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table)
    for line in _totals(summary):
        console.print(line)


def _table(summary: Summary, *, layers: bool) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"{summary.name}, image {_times(3, *summary.size_hw)}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("layer", no_wrap=True)
    table.add_column("type", no_wrap=True)
    for name in ("output", "stride", "rate", "RF px", "parameters", "GMAC"):
        table.add_column(name, justify="right", no_wrap=True)
    part = ""
    for row in summary.layers if layers else summary.blocks:
        previous, (part, _, name) = part, row.name.partition(".")
        if part != previous:
            table.add_row(part if name else "upsampling", style="bold")
        table.add_row(f"  {name or part}", _kind(row), *_numbers(row))
    return table


def _kind(row: Layer) -> str:
    from ..describe import Block

    count = row.count if isinstance(row, Block) else 1
    return f"{count} x {row.kind}" if count > 1 else row.kind


def _numbers(row: Layer) -> tuple[str, ...]:
    """Format the numbers of a row; `all` is a receptive field of the whole image."""
    return (
        _times(*row.output),
        "" if row.stride is None else str(row.stride),
        str(row.dilation) if row.dilation > 1 else "",
        "all" if row.receptive_field is None else str(row.receptive_field),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.macs / 1e9:.3f}" if row.macs else "",
    )


def _totals(summary: Summary) -> list[str]:
    lines: list[str] = []
    if len(summary.scales) > 1:
        lines += [
            f"scale {scale.scale:g}: image {_times(*scale.size_hw)}, scores "
            f"{_times(*scale.scores_hw)}, {scale.macs / 1e9:.1f} GMAC"
            for scale in summary.scales
        ]
    scores = _times(summary.num_classes, *summary.output_hw)
    pixels = _times(summary.num_classes, *summary.size_hw)
    lines.append(f"scores {scores}, {summary.upsampling} upsampling to {pixels}")
    lines.append(f"{summary.parameters:,} parameters, {summary.macs / 1e9:.1f} GMAC")
    return lines


def _times(*numbers: int) -> str:
    return "x".join(map(str, numbers))
