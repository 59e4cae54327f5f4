"""The project's weight files: safetensors with the entry in the metadata."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from ..models import DeepLab, create_model
from .entry import Entry

# The only metadata: safetensors writes several keys in random order, and equal weights shall be
# equal files.
METADATA_KEY = "atrous_entry"
DRAWING = (Tensor.normal_, Tensor.uniform_, init.normal_, init.uniform_, init.kaiming_uniform_)
SHOWN = 4  # names of a long list that an error prints


def save_weights(
    path: str | PathLike[str],
    state: Mapping[str, Tensor],
    entry: Entry,
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights and their entry; a crash leaves the old file or the new one.

    Args:
        path: The .safetensors file to write.
        state: A network's state dict. Counts of seen batches are left out.
        entry: What the weights are; its options must build a network that takes `state`.
        dtype: Of the stored filters. Vectors (batch norm, biases) stay float32: they are small, and
            variances of unscaled inputs pass float16's 65504.

    Raises:
        ValueError: If the state does not fit `entry.options`, or a value is not finite in `dtype`.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    check_state(state, entry.options, source=f"the state for {path.name}")
    tensors: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        stored = tensor.detach().cpu().to(dtype if tensor.ndim > 1 else torch.float32)
        if not bool(torch.isfinite(stored).all()):
            raise ValueError(f"{key} holds values that are not finite in {dtype}; nothing written")
        tensors[key] = stored.contiguous()
    _write(path, save(tensors, {METADATA_KEY: entry.to_json()}))


def read_weights(path: str | PathLike[str]) -> tuple[dict[str, Tensor], Entry]:
    """Read a weight file.

    Returns:
        The state dict, float32 on the CPU, and the entry.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, no safetensors file, or one without an entry.
    """
    entry, tensors = _open(path, _tensors)
    return {key: tensor.to(torch.float32) for key, tensor in tensors.items()}, entry


def read_entry(path: str | PathLike[str]) -> Entry:
    """Read the entry alone, without the tensors; raises as `read_weights` does."""
    return _open(path, lambda _: None)[0]


def empty_model(options: Mapping[str, Any]) -> DeepLab:
    """Build the network around undrawn memory, to be filled or compared with.

    A tenth of `create_model`'s time, most of which goes into random numbers.

    Raises:
        ValueError: If `create_model` does not take the options.
    """
    try:
        with _WithoutDrawing():
            return create_model(**options)
    except TypeError as error:
        raise ValueError(
            f"create_model does not take the options {dict(options)}: {error}"
        ) from None


class _WithoutDrawing(TorchFunctionMode):
    """Leave tensors as they are instead of drawing random numbers."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def check_state(
    state: Mapping[str, Tensor],
    options: Mapping[str, Any],
    *,
    source: str,
    names: Mapping[str, str] | None = None,
    unknown: Sequence[str] = (),
) -> None:
    """Refuse a state dict that is not exactly the network's.

    Args:
        state: Parameters and buffers; counts of seen batches may be missing.
        options: Keyword arguments of `create_model`.
        source: What the error says does not fit, such as a file's name.
        names: What a parameter is called in the file, where that differs.
        unknown: Further names in the file that mean nothing to the network.

    Raises:
        ValueError: Naming the first missing, unexpected and misshapen keys, with their number.
    """
    model = empty_model(options)
    needed = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    names = names or {}
    missing = [key for key in needed if key not in given]
    unexpected = [*(names.get(key, key) for key in given if key not in needed), *unknown]
    misshapen = [
        f"{names.get(key, key)} is {_shape(given[key])}, needed {_shape(needed[key])}"
        for key in needed
        if key in given and given[key].shape != needed[key].shape
    ]
    kinds = [("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)]
    faults = [f"{len(keys)} {kind} ({_first(keys)})" for kind, keys in kinds if keys]
    if faults:
        raise ValueError(
            f"{source} does not fit {options['name']} with {options['num_classes']} classes: "
            + "; ".join(faults)
        )


def _open(path: str | PathLike[str], read: Callable[[Any], Any]) -> tuple[Entry, Any]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(METADATA_KEY)
            content = read(file)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a readable safetensors file ({error}); if it is damaged or cut short, "
            "fetch it again"
        ) from error
    if text is None:
        raise ValueError(
            f"{path} holds no entry ({METADATA_KEY} in its metadata), so its classes and "
            "preprocessing are unknown; use a file written by atrous"
        )
    try:
        return Entry.from_json(text), content
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _tensors(file: Any) -> dict[str, Tensor]:
    names = file.keys()
    return {name: file.get_tensor(name) for name in names}


def _write(path: Path, content: bytes) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; make it first")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise OSError(f"{path} could not be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a renaming in a folder outlast a power cut, where the system lets folders be synced."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


def _first(keys: Sequence[str]) -> str:
    rest = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
