"""Find problems in the statistics of a data set, and say how to fix them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..labels import Colour, LabelSet
from ..visualize import percent
from .examination import Examination, SplitFacts

MOST_NAMED = 6  # files or classes named in a sentence; the rest is counted
LARGE_VOID_SHARE = 0.3
RARE_SHARE = 0.001
LARGE_LEAK = 0.02
"""Share of the evaluated images that are also in train, above which a finding is a warning."""
CROP_PX = 321  # DeepLab's training crop
LARGE_PIXELS = 4_000_000
FLAT_SHARE = 0.9


class Level(Enum):
    """Severity of a finding."""

    BREAKS = "breaks training"
    WARNING = "lowers scores"
    NOTE = "good to know"


@dataclass(frozen=True)
class Finding:
    """A problem, or a remark.

    Attributes:
        level: Severity.
        text: What was found.
        remedy: What to do about it.
        details: One line per file concerned.
    """

    level: Level
    text: str
    remedy: str
    details: tuple[str, ...] = ()


def judge(examination: Examination) -> list[Finding]:
    """List the problems of a data set, the most severe first."""
    findings: list[Finding] = []
    for split in examination.splits:
        findings += _of_files(split) + _of_repeated_names(split)
    if examination.label_set is not None:
        findings += _of_classes(examination, examination.label_set)
        findings += _of_palettes(examination, examination.label_set)
        findings += _of_leaks(examination)
        for split in examination.splits:
            findings += _of_void(split, examination.dataset) + _of_sizes(split)
    order = list(Level)
    return sorted(findings, key=lambda finding: order.index(finding.level))


def _of_files(split: SplitFacts) -> list[Finding]:
    if split.error:
        text = f"{split.name} cannot be opened: {split.error}."
        remedy = "Add the files, or remove their names from the list; then run doctor again."
        if not split.is_missing:
            remedy = "Fix this, then run doctor again: it may find more."
        return [Finding(Level.BREAKS, text, remedy, split.missing)]
    if not split.names:
        return [Finding(Level.BREAKS, f"{split.name} is empty.", "Add images and labels to it.")]
    if split.faults:
        text = f"{len(split.faults)} pair(s) of {split.name} cannot be used."
        remedy = "Each line says what is wrong and how to fix it; training stops at the first."
        lines = tuple(f"{name}: {reason}" for name, reason in split.faults.items())
        return [Finding(Level.BREAKS, text, remedy, lines)]
    return []


def _of_repeated_names(split: SplitFacts) -> list[Finding]:
    repeated = {name: count for name, count in Counter(split.names).items() if count > 1}
    if not repeated:
        return []
    text = f"{len(repeated)} name(s) occur more than once in the list of {split.name}."
    remedy = "These images count several times in training and in scores; list each name once."
    lines = tuple(f"{name}: {count} times" for name, count in repeated.items())
    return [Finding(Level.WARNING, text, remedy, lines)]


def _of_classes(examination: Examination, label_set: LabelSet) -> list[Finding]:
    train, *others = examination.splits
    findings: list[Finding] = []
    same = [name for name, count in Counter(label_set.names).items() if count > 1]
    if same:
        text = f"{len(same)} name(s) stand for several classes: {_some(same)}."
        remedy = "Scores cannot be told apart; give every class a name of its own."
        findings.append(Finding(Level.WARNING, text, remedy))
    seen = train.pixels > 0
    if not train.examined:
        return findings
    if np.count_nonzero(seen) < 2:
        what = label_set.names[int(np.argmax(seen))] if seen.any() else "only void"
        claim = f"The labels of {train.name} hold a single class"
        remedy = (
            "Training refuses this. Look at the overlays, and check which number or colour stands "
            "for which class."
        )
        return [*findings, _as_far_as_read([train], Level.BREAKS, claim, f": {what}.", remedy)]
    for split in (split for split in others if split.examined):
        unknown = np.flatnonzero((split.pixels > 0) & ~seen)
        if unknown.size:
            names = _some([label_set.names[i] for i in unknown])
            claim = f"{split.name} holds classes that never occur in {train.name}"
            remedy = "Their IoU will be 0. Move some images with them to the training split."
            findings.append(_as_far_as_read([train], Level.WARNING, claim, f": {names}.", remedy))
    read = [split for split in examination.splits if split.examined]
    absent = np.flatnonzero(sum(split.pixels for split in read) == 0)
    if absent.size:
        names = _some([label_set.names[i] for i in absent])
        claim = f"{absent.size} of {label_set.num_classes} classes never occur"
        remedy = "Fine if the data set has unused numbers; if not, check the order of the classes."
        findings.append(_as_far_as_read(read, Level.NOTE, claim, f": {names}.", remedy))
    share = train.pixels / train.pixels.sum()
    rare = np.flatnonzero(seen & (share < RARE_SHARE))
    if rare.size:
        names = _some([f"{label_set.names[i]} ({_exact(float(share[i]))})" for i in rare])
        claim = f"Rare in {train.name}, below {percent(RARE_SHARE)} of the known pixels"
        remedy = "Raise their weight: loss.class_weight_power (0.3 to 0.5) in the recipe."
        findings.append(_as_far_as_read([train], Level.NOTE, claim, f": {names}.", remedy))
    if train.flat_images > FLAT_SHARE * len(train.examined):
        claim = f"{train.flat_images} of {len(train.examined)} label maps hold only one class"
        remedy = "Look at the overlays: classes may have been lost when the masks were saved."
        findings.append(_as_far_as_read([train], Level.WARNING, claim, ".", remedy))
    return findings


def _of_palettes(examination: Examination, label_set: LabelSet) -> list[Finding]:
    colours: dict[int, dict[Colour, str]] = {}
    for split in examination.splits:
        for index, names in split.colours.items():
            colours[index] = names | colours.get(index, {})
    lines = tuple(
        f"{label_set.names[index]}: "
        + ", ".join(f"{colour} in {name}" for colour, name in list(names.items())[:MOST_NAMED])
        for index, names in sorted(colours.items())
        if len(names) > 1
    )
    if not lines:
        return []
    text = f"{len(lines)} class(es) have different colours in the palettes of different masks."
    remedy = (
        "Masks are read by number. If a program wrote the palettes in another order, numbers mean "
        "other classes: give every class its colour in classes.txt, and masks are read by colour."
    )
    return [Finding(Level.WARNING, text, remedy, lines)]


def _of_leaks(examination: Examination) -> list[Finding]:
    findings: list[Finding] = []
    train, *others = examination.splits
    for split in others:
        shared = sorted(set(train.names) & set(split.names))
        if shared:
            text = f"{len(shared)} name(s) are in both {train.name} and {split.name}."
            remedy = "Training refuses this; remove them from one of the lists."
            findings.append(Finding(Level.BREAKS, text, remedy, tuple(shared)))
        pairs = [leak for leak in examination.leaks if leak[1] == split.name and leak[0] != leak[2]]
        if pairs:
            lines = tuple(
                f"{name} ({train.name}) and {other} ({split.name})"
                + (", mirrored" if is_mirrored else "")
                for name, _, other, is_mirrored in pairs
            )
            count = len({other for _, _, other, _ in pairs})
            level = Level.WARNING if count > LARGE_LEAK * len(split.examined) else Level.NOTE
            text = f"{count} image(s) of {split.name} look almost like an image of {train.name}."
            remedy = (
                "Scores on these images measure memorisation. Look at them; keep all frames of a "
                "video in one split."
            )
            findings.append(Finding(level, text, remedy, lines))
    return findings


def _of_void(split: SplitFacts, dataset: str) -> list[Finding]:
    findings: list[Finding] = []
    if split.examined and len(split.void_images) == len(split.examined):
        claim = f"No pixel of {split.name} has a class"
        remedy = "Check which number means unknown; labels of test sets are often not published."
        return [_as_far_as_read([split], Level.BREAKS, claim, ": all labels are void.", remedy)]
    if split.void_images:
        text = f"{len(split.void_images)} image(s) of {split.name} hold only void."
        remedy = "Training cannot use them; label them or remove them from the list."
        findings.append(Finding(Level.WARNING, text, remedy, tuple(split.void_images)))
    if split.void_share > LARGE_VOID_SHARE:
        claim = f"{percent(split.void_share)} of {split.name}'s pixels are void"
        remedy = "Void is neither trained nor evaluated. If a class was stored as 255, map it back."
        findings.append(_as_far_as_read([split], Level.WARNING, claim, ".", remedy))
    if dataset.startswith("voc2012") and split.examined and not split.void_pixels:
        claim = f"{split.name} has no void pixel"
        rest = ", but VOC outlines every object with 255."
        remedy = "A conversion probably made 255 background; use the original files of VOC."
        findings.append(_as_far_as_read([split], Level.WARNING, claim, rest, remedy))
    return findings


def _of_sizes(split: SplitFacts) -> list[Finding]:
    findings: list[Finding] = []
    small = [f"{w}x{h}" for h, w in split.sizes_hw if max(h, w) < CROP_PX]
    if small:
        text = f"{len(small)} image(s) of {split.name} are smaller than a crop of {CROP_PX}."
        remedy = "The rest of the crop is padding; set augment.crop_hw to the size of the images."
        findings.append(Finding(Level.NOTE, text, remedy))
    large = sum(h * w > LARGE_PIXELS for h, w in split.sizes_hw)
    if large:
        text = f"{large} image(s) of {split.name} have more than {LARGE_PIXELS / 1e6:g} megapixels."
        remedy = "Reading them limits the speed of training; store smaller copies."
        findings.append(Finding(Level.NOTE, text, remedy))
    return findings


def _as_far_as_read(
    splits: Sequence[SplitFacts], level: Level, claim: str, rest: str, remedy: str
) -> Finding:
    """Downgrade the finding to a note when only a sample was read."""
    if not any(split.is_part for split in splits):
        return Finding(level, claim + rest, remedy)
    examined = sum(len(split.examined) for split in splits)
    pairs = sum(len(split.names) for split in splits)
    text = f"{claim} in the {examined} of {pairs} images read{rest}"
    return Finding(Level.NOTE, text, f"Leave out --images to be sure. {remedy}")


def _exact(share: float) -> str:
    return f"{100 * share:.2g} %"


def _some(items: Sequence[str]) -> str:
    rest = len(items) - MOST_NAMED
    return ", ".join(items[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
