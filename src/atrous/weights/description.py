"""Weights entries as lines of text."""

from __future__ import annotations

from ..tables import to_table
from .entry import Entry


def describe_entry(entry: Entry) -> dict[str, str]:
    """Give all that an entry says: heading -> text, without the empty ones."""
    options = ", ".join(f"{key}={value}" for key, value in entry.options.items() if key != "name")
    rows = {
        "network": f"{entry.options['name']}: {options}",
        "classes": ", ".join(entry.label_set.names),
        "input": describe_input(entry),
        **{dataset: describe_scores(scores) for dataset, scores in entry.metrics.items()},
        "CRF": describe_crf(entry),
        "licence": describe_licence(entry),
        "source": entry.source,
        "recipe": entry.recipe,
        "trained on": ", ".join(entry.trained_on),
        "date": entry.date,
        "size": describe_size(entry),
        "published": entry.url or "in this package",
        "sha256": entry.sha256 or "",
    }
    return {heading: text for heading, text in rows.items() if text}


def describe_input(entry: Entry) -> str:
    """Say how the network's input is made from an image."""
    rule = entry.preprocess
    mean, std = (", ".join(f"{v:g}" for v in values) for values in (rule.mean, rule.std))
    scaled = "" if set(rule.std) == {1.0} else f", divided by ({std})"
    return f"{rule.channel_order.upper()} minus ({mean}){scaled}; padding {rule.padding}"


def describe_scores(scores: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in scores.items())


def describe_crf(entry: Entry) -> str:
    if entry.crf is None:
        return "no parameters published"
    values = ", ".join(f"{key} {value:g}" for key, value in to_table(entry.crf).items())
    return f"{'on' if entry.use_crf else 'off'} by default ({values})"


def describe_licence(entry: Entry) -> str:
    return f"{entry.licence}; {entry.notice}" if entry.notice else entry.licence


def describe_size(entry: Entry) -> str:
    return f"{entry.size_bytes / 1e6:.1f} MB" if entry.size_bytes else "size unknown"
