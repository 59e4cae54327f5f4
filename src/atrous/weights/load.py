"""From a name, a path or an address to a network that is ready to predict."""

from __future__ import annotations

import dataclasses
import os
from os import PathLike
from pathlib import Path

from ..errors import WeightsError
from ..models import DeepLab
from .catalog import Entry, bundled_files, find
from .checkpoint import check_state, empty_model, read_weights
from .download import fetch, parse_address

FOREIGN_SUFFIXES = (".pth", ".pt", ".pkl", ".caffemodel", ".tar", ".ckpt")


def load_model(weights: str | PathLike[str]) -> tuple[DeepLab, Entry]:
    """Build the network that weights belong to, and fill it.

    Args:
        weights: A name out of `list_weights()`, the path of a .safetensors file written by this
            project, or an address `https://…/net.safetensors#sha256=HEX`, which is kept in the
            cache. A name wins over a file of the same name; write ./NAME for the file.

    Returns:
        The network, float32 on the CPU, in evaluation mode, and the weights' entry.

    Raises:
        FileNotFoundError: If a path does not exist.
        WeightsError: If no weights bear the name, the file is of another project or damaged, or its
            tensors do not fit the network that its entry describes.
        ConnectionError: If a download fails.
    """
    path, published = _locate(weights)
    if path.suffix.lower() in FOREIGN_SUFFIXES and path.is_file():
        raise WeightsError(
            f"{path} is not a safetensors file; first run: atrous convert {path} -o "
            f"{path.stem}.safetensors"
        )
    state, entry = read_weights(path)
    model = empty_model(entry.options)
    check_state(model, state, source=str(path))
    model.load_state_dict(state, assign=True)
    if published is not None:
        entry = dataclasses.replace(
            entry,
            url=published.url,
            sha256=published.sha256,
            size_bytes=published.size_bytes,
        )
    return model.eval(), entry


def _locate(weights: str | PathLike[str]) -> tuple[Path, Entry | None]:
    """Find the file on this machine, downloading it where need be, and its catalogue entry."""
    text = os.fspath(weights)
    if isinstance(weights, str):
        if "://" in text:
            url, sha256 = parse_address(text)
            return fetch(url, sha256=sha256), None
        if not _looks_like_path(text):
            return _locate_name(text)
    return Path(text), None


def _locate_name(name: str) -> tuple[Path, Entry | None]:
    bundled = bundled_files()
    if name in bundled:
        return bundled[name], None
    entry = find(name)
    assert entry.url is not None
    assert entry.sha256 is not None
    return fetch(entry.url, sha256=entry.sha256), entry


def _looks_like_path(text: str) -> bool:
    has_folder = "/" in text or os.sep in text
    return has_folder or Path(text).suffix.lower() in (".safetensors", *FOREIGN_SUFFIXES)
