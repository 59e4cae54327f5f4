"""Options that several commands share, and options made from the fields of a dataclass."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from ..errors import InputError
from ..network_options import check_scales
from ..tables import field_docs, field_types

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
COUNT = click.IntRange(min=1)
COUNT.name = "N"  # shown in the help


def parse_scales(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    """Read a list of input scales, such as 1,0.75,0.5."""
    if text is None:
        return None
    numbers = _split(text, float, "a list such as 1,0.75,0.5")
    try:
        return check_scales(numbers)
    except InputError as error:
        raise click.BadParameter(str(error)) from error


def parse_rates(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    """Read a list of atrous rates, such as 6,12."""
    if text is None:
        return None
    what = "a list of whole numbers such as 6,12"
    rates = _split(text, int, what)
    if min(rates) < 1:
        raise click.BadParameter(f"{text!r} is not {what}")
    return rates


def _split(text: str, kind: type[Any], what: str) -> tuple[Any, ...]:
    try:
        return tuple(kind(item) for item in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not {what}") from error


weights_option = click.option(
    "--weights",
    metavar="WEIGHTS",
    default="street-lite",
    show_default=True,
    help="Name or file of weights.",
)
scales_option = click.option(
    "--scales",
    metavar="S,S,…",
    callback=parse_scales,
    help="Input scales to fuse, such as 1,0.75,0.5.",
)
flip_option = click.option("--flip", is_flag=True, help="Average with the mirror image.")
crf_option = click.option(
    "--crf/--no-crf", default=None, help="Run the dense CRF or not.  [default: as the weights say]"
)
device_option = click.option(
    "--device",
    metavar="DEVICE",
    default="auto",
    show_default=True,
    help="Device to compute on: cpu, cuda, mps …; auto takes the accelerator, if there is one.",
)


def dataclass_options(
    kind: type, fields: Sequence[str] | None = None
) -> Callable[[Command], Command]:
    """Add an option for each field of a dataclass: its type, default and docstring.

    Args:
        kind: The dataclass.
        fields: Names of the fields; all by default.

    Returns:
        A decorator. The command receives each value under the field's name.
    """

    def add(command: Command) -> Command:
        docs, hints = field_docs(kind), field_types(kind)
        defaults = {f.name: f.default for f in dataclasses.fields(typing.cast(Any, kind))}
        for name in reversed(fields or list(hints)):
            command = _option(name, hints[name], defaults[name], docs.get(name, ""))(command)
        return command

    return add


def _option(name: str, kind: Any, default: Any, text: str) -> Callable[[Command], Command]:
    flag = f"--{name.replace('_', '-')}"
    settings: dict[str, Any] = {
        "default": default,
        "show_default": default is not None,
        "help": text.replace("`", ""),
    }
    if isinstance(kind, types.UnionType):
        kind = next(item for item in typing.get_args(kind) if item is not type(None))
    if kind is bool:
        flag = f"{flag}/--no-{flag[2:]}"
    elif typing.get_origin(kind) is Literal:
        settings["type"] = click.Choice(typing.get_args(kind))
    elif typing.get_origin(kind) is tuple:
        settings |= {"callback": parse_rates, "metavar": "N,N,…"}
    else:
        settings["type"] = kind
    return click.option(flag, name, **settings)
