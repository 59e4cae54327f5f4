"""Values that several commands read in the same way."""

from __future__ import annotations

import click

from ..errors import InputError
from ..network_options import check_scales


def parse_scales(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    """Read a list of input scales, such as 1,0.75,0.5."""
    if text is None:
        return None
    try:
        numbers = [float(item) for item in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list such as 1,0.75,0.5") from error

    try:
        return check_scales(numbers)
    except InputError as error:
        raise click.BadParameter(str(error)) from error
