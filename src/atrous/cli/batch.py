"""Report the files of a batch that failed."""

from __future__ import annotations

from collections.abc import Sequence

import click


def list_failures(failures: Sequence[tuple[str, str]]) -> None:
    """List (file, reason) and end with status 1, if anything failed."""
    if not failures:
        return
    click.echo(f"{len(failures)} failed:", err=True)
    for path, reason in failures:
        click.echo(f"  {reason}" if reason.startswith(path) else f"  {path}: {reason}", err=True)
    raise click.exceptions.Exit(1)
