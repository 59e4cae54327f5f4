"""`atrous weights`: what there is to load, under which licence, and what others publish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..weights import Entry
    from ..weights.catalog import Published


@click.command()
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the weights that can be used by name, or tell all about the one called NAME."""
    from ..weights.catalog import PUBLISHED_ELSEWHERE, find, list_weights

    if name is not None:
        _print_details(find(name))
        return
    entries = list_weights()
    if not entries:
        click.echo("No weights are in this package.")
    for entry in entries:
        _print_entry(entry)
    click.echo("\nPublished by others; download them yourself, then convert them:\n")
    for published in PUBLISHED_ELSEWHERE:
        _print_published(published)
    click.echo("Any other: atrous segment PHOTO --weights FILE.safetensors, or an address")
    click.echo("https://…/FILE.safetensors#sha256=DIGEST, which is verified and kept.")


def _print_entry(entry: Entry) -> None:
    click.echo(f"{entry.name}  ({_size(entry)})")
    click.echo(f"  {entry.options['name']}, {entry.label_set.num_classes} classes")
    for dataset, scores in entry.metrics.items():
        click.echo(f"  {dataset}: {_scores(scores)}")
    click.echo(f"  {_licence(entry)}")


def _print_details(entry: Entry) -> None:
    options = ", ".join(f"{key}={value}" for key, value in entry.options.items() if key != "name")
    rows = {
        "network": f"{entry.options['name']}: {options}",
        "classes": ", ".join(entry.label_set.names),
        "input": describe_input(entry),
        **{dataset: _scores(scores) for dataset, scores in entry.metrics.items()},
        "CRF": _crf(entry),
        "licence": _licence(entry),
        "source": entry.source,
        "recipe": entry.recipe,
        "trained on": ", ".join(entry.trained_on),
        "date": entry.date,
        "size": _size(entry),
        "published": entry.url or "in this package",
        "sha256": entry.sha256 or "",
    }
    click.echo(entry.name)
    width = max(map(len, rows)) + 2
    for key, value in rows.items():
        if value:
            click.echo(f"  {key:<{width}}{value}")


def _print_published(published: Published) -> None:
    click.echo(published.files)
    click.echo(f"  {published.what}")
    click.echo(f"  from {published.where}")
    if published.warning:
        click.echo(f"  beware: {published.warning}")
    click.echo(f"  {published.command}\n")


def describe_input(entry: Entry) -> str:
    """Say in one line what the network reads."""
    rule = entry.preprocess
    mean, std = (", ".join(f"{v:g}" for v in values) for values in (rule.mean, rule.std))
    scaled = "" if set(rule.std) == {1.0} else f", divided by ({std})"
    return f"{rule.channel_order.upper()} minus ({mean}){scaled}; padding {rule.padding}"


def _scores(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in scores.items())


def _crf(entry: Entry) -> str:
    if entry.crf is None:
        return "none published"
    from ..tables import to_table

    values = ", ".join(f"{key} {value:g}" for key, value in to_table(entry.crf).items())
    return f"{'on' if entry.use_crf else 'off'} unless asked otherwise ({values})"


def _licence(entry: Entry) -> str:
    return f"{entry.licence}; {entry.notice}" if entry.notice else entry.licence


def _size(entry: Entry) -> str:
    return f"{entry.size_bytes / 1e6:.1f} MB" if entry.size_bytes else "size unknown"
