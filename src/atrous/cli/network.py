"""The arguments of `atrous summary` and `atrous plot`: which network, for which image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import InputError
from .parameters import parse_scales

if TYPE_CHECKING:
    from ..describe import Summary

Command = TypeVar("Command", bound=Callable[..., Any])


def parse_size(ctx: click.Context, param: click.Parameter, text: str) -> tuple[int, int]:
    """Read rows and columns, such as 513x513."""
    rows, _, columns = text.lower().partition("x")
    if not (_is_count(rows) and _is_count(columns)):
        raise click.BadParameter(f"{text!r} is not rows x columns such as 513x513")
    return int(rows), int(columns)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def network_options(command: Command) -> Command:
    """Add NAME and the options that say which network is meant."""
    options = (
        click.argument("name"),
        click.option(
            "--classes",
            "num_classes",
            type=click.IntRange(min=1),
            default=21,
            show_default=True,
            help="Classes, background included.",
        ),
        click.option(
            "--size",
            "size_hw",
            metavar="ROWSxCOLUMNS",
            callback=parse_size,
            default="513x513",
            show_default=True,
            help="Rows and columns of the image.",
        ),
        click.option(
            "--head",
            default="aspp",
            show_default=True,
            help="aspp, aspp_s, largefov, conv1x1 or aspp_concat.",
        ),
        click.option(
            "--output-stride",
            type=click.Choice(["8", "16"]),
            default="8",
            show_default=True,
            help="Pixels of the image for each score.",
        ),
        click.option(
            "--scales", callback=parse_scales, help="Input scales to fuse, e.g. 1,0.75,0.5."
        ),
        click.option(
            "--upsampling",
            type=click.Choice(["bilinear", "transposed"]),
            default="bilinear",
            show_default=True,
            help="The way from scores to pixels.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def summarise_network(
    name: str,
    *,
    size_hw: tuple[int, int],
    output_stride: str,
    scales: tuple[float, ...] | None,
    **options: Any,
) -> Summary:
    """Build a network without weights and describe it.

    Raises:
        click.UsageError: If there is no such network, or it has no such option.
    """
    import torch

    from ..describe import summarise
    from ..models import create_model

    try:
        with torch.device("meta"):
            model = create_model(
                name,
                output_stride=16 if output_stride == "16" else 8,
                scales=scales or (1.0,),
                **options,
            )
    except InputError as error:
        raise click.UsageError(str(error)) from error
    return summarise(model, size_hw)
