"""`load_model`: builds a network and loads weights by name, path or URL."""

from __future__ import annotations

import dataclasses
import os
from os import PathLike
from pathlib import Path

from ..errors import WeightsError
from ..models import DeepLab
from .catalog import Entry, bundled_files, find
from .checkpoint import check_state, empty_model, read_weights
from .download import fetch, parse_url

FOREIGN_SUFFIXES = (".pth", ".pt", ".pkl", ".caffemodel", ".tar", ".ckpt")


def load_model(weights: str | PathLike[str]) -> tuple[DeepLab, Entry]:
    """Build the network of a weights file and load the weights into it.

    Args:
        weights: A name from `list_weights()`, the path of a .safetensors file written by this
            project, or a URL `https://…/net.safetensors#sha256=HEX`, whose file is kept in the
            cache. A name takes precedence over a file of the same name; write ./NAME for the file.

    Returns:
        The network, float32 on the CPU, in evaluation mode, and the weights' entry.

    Raises:
        FileNotFoundError: If a path does not exist.
        InputError: If a URL is not https, or has no SHA-256.
        WeightsError: If no weights have this name, the file is damaged or from another project, or
            its tensors do not fit the network that its entry describes.
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
    """Return the file, downloaded if necessary, and its catalogue entry if it has one."""
    text = os.fspath(weights)
    if isinstance(weights, str):
        if "://" in text:
            url, sha256 = parse_url(text)
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
