"""The arguments of `atrous summary` and `atrous plot`: a network and an image size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import InputError
from ..network_options import NetworkOptions
from .options import COUNT, dataclass_options, scales_option

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


def network_arguments(command: Command) -> Command:
    """Add NAME and the options that describe a network."""
    own = ["head", "atrous_rates", "output_stride", "align_corners", "stride_in_1x1", "upsampling"]
    options = (
        click.argument("name"),
        click.option(
            "--classes",
            "num_classes",
            type=COUNT,
            default=21,
            show_default=True,
            help="Number of classes, background included.",
        ),
        click.option(
            "--size",
            "size_hw",
            metavar="ROWSxCOLUMNS",
            callback=parse_size,
            default="513x513",
            show_default=True,
            help="Size of the image.",
        ),
        scales_option,
        dataclass_options(NetworkOptions, own),
    )
    for option in reversed(options):
        command = option(command)
    return command


def summarise_network(
    *, size_hw: tuple[int, int], scales: tuple[float, ...] | None, **options: Any
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
            model = create_model(**options, scales=scales or (1.0,))
    except InputError as error:
        raise click.UsageError(str(error)) from error
    return summarise(model, size_hw)
