"""`atrous weights`: available weights, their licences, and files that other projects publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..weights import Entry
    from ..weights.catalog import Published


@click.command()
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the weights that can be used by name, or describe the weights NAME."""
    from ..weights.catalog import PUBLISHED_ELSEWHERE, find, list_weights

    entries = list_weights()
    if name is not None:
        _print_details(next((entry for entry in entries if entry.name == name), None) or find(name))
        return
    if not entries:
        click.echo("This package contains no weights.")
    for entry in entries:
        _print_entry(entry)
    click.echo("\nPublished by other projects; download them, then convert them:\n")
    for published in PUBLISHED_ELSEWHERE:
        _print_published(published)
    click.echo("Any other weights: atrous segment IMAGE --weights FILE.safetensors, or an address")
    click.echo("https://…/FILE.safetensors#sha256=DIGEST; the download is verified and cached.")


def _print_entry(entry: Entry) -> None:
    from ..weights.description import describe_licence, describe_scores, describe_size

    click.echo(f"{entry.name}  ({describe_size(entry)})")
    click.echo(f"  {entry.options['name']}, {entry.label_set.num_classes} classes")
    for dataset, scores in entry.metrics.items():
        click.echo(f"  {dataset}: {describe_scores(scores)}")
    click.echo(f"  {describe_licence(entry)}")


def _print_details(entry: Entry) -> None:
    from ..weights.description import describe_entry

    rows = describe_entry(entry)
    click.echo(entry.name)
    width = max(map(len, rows)) + 2
    for heading, text in rows.items():
        click.echo(f"  {heading:<{width}}{text}")


def _print_published(published: Published) -> None:
    click.echo(published.files)
    click.echo(f"  {published.what}")
    click.echo(f"  from {published.where}")
    if published.warning:
        click.echo(f"  warning: {published.warning}")
    click.echo(f"  {published.command}\n")
