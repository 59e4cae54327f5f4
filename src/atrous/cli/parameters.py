"""Values that several commands read in the same way."""

from __future__ import annotations

from typing import Any

import click


class Scales(click.ParamType):
    """A list of input scales, such as 1,0.75,0.5."""

    name = "scales"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value  # click converts defaults twice
        try:
            numbers = [float(item) for item in value.split(",")]
        except ValueError:
            self.fail(f"{value!r} is not a list such as 1,0.75,0.5", param, ctx)
        from ..models import check_scales  # loads torch

        try:
            return check_scales(numbers)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SCALES = Scales()
