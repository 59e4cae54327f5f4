"""Options made from a dataclass have its types, defaults and docstrings."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from atrous.cli.crf import command as crf_command
from atrous.cli.options import dataclass_options
from atrous.crf import CRFParams


@dataclass(frozen=True)
class Options:
    count: int = 3
    """How many `items`."""
    is_on: bool = False
    """Whether it is on."""
    kind: Literal["a", "b"] = "b"
    """Its kind."""
    stride: Literal[8, 16] = 8
    """Its stride."""
    rates: tuple[int, ...] | None = None
    """Its rates."""
    width: float | None = None


def run(*args: str) -> dict[str, Any] | str:
    """Return the values that the command receives, or the error."""
    received: dict[str, Any] = {}

    @click.command
    @dataclass_options(Options)
    def command(**values: Any) -> None:
        received.update(values)

    result = CliRunner().invoke(command, args)
    return received if result.exit_code == 0 and received else result.output


def test_defaults_are_those_of_the_dataclass() -> None:
    values = run()
    assert isinstance(values, dict)
    assert Options(**values) == Options()


def test_values_have_the_types_of_the_fields() -> None:
    given = ("--count=4", "--is-on", "--kind=a", "--stride=16", "--rates=6,12", "--width=1")
    values = run(*given)
    assert values == {
        "count": 4,
        "is_on": True,
        "kind": "a",
        "stride": 16,
        "rates": (6, 12),
        "width": 1.0,
    }
    assert type(values["width"]) is float
    assert run("--no-is-on")["is_on"] is False


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--kind=c", "'c' is not one of 'a', 'b'"),
        ("--stride=4", "'4' is not one of '8', '16'"),
        ("--count=x", "'x' is not a valid integer"),
        ("--rates=0", "'0' is not a list of whole numbers such as 6,12"),
        ("--rates=a", "'a' is not a list of whole numbers such as 6,12"),
    ],
)
def test_wrong_values_are_refused(option: str, says: str) -> None:
    assert says in run(option)


def test_help_is_the_docstring_of_the_field() -> None:
    text = " ".join(run("--help").split())
    assert "--count INTEGER How many items. [default: 3]" in text
    assert "--is-on / --no-is-on Whether it is on. [default: no-is-on]" in text


def test_crf_offers_every_parameter() -> None:
    names = {param.name: param.default for param in crf_command.params}
    for field in fields(CRFParams):
        assert names[field.name] == field.default
