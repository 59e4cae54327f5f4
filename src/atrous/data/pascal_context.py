"""PASCAL-Context: VOC 2010 in 59 classes and background (Mottaghi et al. 2014)."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..labels import LabelSet, voc_palette
from .base import Dataset, files_by_stem, pair_files, read_lines, read_names
from .label_files import LabelReader, MappedReader, MatReader, read_archived
from .voc import find_devkit, list_file

# The order of the authors' 59_labels.txt, in the spelling of their labels.txt; colours are VOC's.
PASCAL_CONTEXT = LabelSet(
    names=(
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat",
        "chair", "cow", "table", "dog", "horse", "motorbike", "person", "pottedplant", "sheep",
        "sofa", "train", "tvmonitor", "bag", "bed", "bench", "book", "building", "cabinet",
        "ceiling", "cloth", "computer", "cup", "door", "fence", "floor", "flower", "food", "grass",
        "ground", "keyboard", "light", "mountain", "mouse", "curtain", "platform", "sign", "plate",
        "road", "rock", "shelves", "sidewalk", "sky", "snow", "bedclothes", "track", "tree",
        "truck", "wall", "water", "window", "wood",
    ),
    palette=voc_palette(60),
)  # fmt: skip
# The authors' two lists spell three classes differently.
_SAME = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}


def load_pascal_context(root: Path, *, split: str) -> Dataset:
    """Read VOC 2010's photos with PASCAL-Context's labels in 59 classes and background.

    Beside VOCdevkit/VOC2010 (JPEGImages, ImageSets/Main) lies 59_context_labels/*.png, or
    trainval/*.mat with labels.txt, the names of its 459 numbers. Splits are train (4,998 images),
    val (5,105) and trainval.

    Raises:
        DataError: If there is no such split, or the lists of names are not the authors'.
        FileNotFoundError: If a folder or a file is missing.
    """
    devkit = find_devkit(root, 2010)
    names = read_names(list_file(devkit, "Main", name="pascal_context", split=split))
    labels, suffix, reader = _find_labels(root, devkit)
    pairs = pair_files(
        names,
        files_by_stem(devkit / "JPEGImages"),
        files_by_stem(labels, frozenset((suffix,))),
        images=devkit / "JPEGImages",
        labels=labels,
    )
    return Dataset("pascal_context", split, PASCAL_CONTEXT, pairs, read_labels=reader)


def _find_labels(root: Path, devkit: Path) -> tuple[Path, str, LabelReader]:
    for base in (root, devkit.parent, devkit):
        _check_order(base / "59_labels.txt")
        if (base / "59_context_labels").is_dir():
            return base / "59_context_labels", ".png", read_archived
        if (base / "trainval").is_dir() and (base / "labels.txt").exists():
            table = _table_of_459(base / "labels.txt")
            reader = MappedReader(table, MatReader(("LabelMap",)))
            return base / "trainval", ".mat", reader
    raise FileNotFoundError(
        f"{root} holds neither 59_context_labels/ nor trainval/ with labels.txt; unpack one of the "
        "PASCAL-Context archives there"
    )


def _table_of_459(path: Path) -> tuple[int, ...]:
    """Map the 459 numbers of trainval/*.mat to the 59 classes by name, the others to background."""
    numbers = _read_numbered(path)
    missing = [name for name in PASCAL_CONTEXT.names[1:] if name not in numbers.values()]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing[:5])}; take the labels.txt of PASCAL-Context itself"
        )
    table = [0] * (max(numbers) + 1)
    for number, name in numbers.items():
        if name in PASCAL_CONTEXT.names:
            table[number] = PASCAL_CONTEXT.names.index(name)
    return tuple(table)


def _check_order(path: Path) -> None:
    """Check the order of the classes: some copies number them alphabetically."""
    if path.exists():
        numbers = _read_numbered(path)
        ours = dict(enumerate(PASCAL_CONTEXT.names))
        strange = [n for n, name in numbers.items() if n and ours.get(n) != name]
        if strange:
            raise DataError(
                f"{path} names class {strange[0]} {numbers[strange[0]]!r}, but it must be "
                f"{ours.get(strange[0])!r}; take the 59_labels.txt of PASCAL-Context itself"
            )


def _read_numbered(path: Path) -> dict[int, str]:
    """Read lines such as `12: dog`."""
    numbers: dict[int, str] = {}
    for line in read_lines(path):
        number, _, name = line.partition(":")
        if number.strip().isdigit():
            name = name.replace(" ", "").strip()
            numbers[int(number)] = _SAME.get(name, name)
    if not numbers:
        raise DataError(f"{path} holds no lines such as `12: dog`; take PASCAL-Context's own")
    return numbers
