"""The project's weight files: safetensors with the entry in the metadata."""

from __future__ import annotations

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

from ..atomic_file import write_bytes
from ..errors import WeightsError
from ..models import DeepLab, NetworkOptions, build_network
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
        WeightsError: If the state does not fit `entry.options`, or a value is not finite in
            `dtype`.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    check_state(empty_model(entry.options), state, source=f"the state for {path.name}")
    tensors: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        stored = tensor.detach().cpu().to(dtype if tensor.ndim > 1 else torch.float32)
        if not bool(torch.isfinite(stored).all()):
            raise WeightsError(
                f"{key} holds values that are not finite in {dtype}; nothing written"
            )
        tensors[key] = stored.contiguous()
    write_bytes(path, save(tensors, {METADATA_KEY: entry.to_json()}))


def read_weights(path: str | PathLike[str]) -> tuple[dict[str, Tensor], Entry]:
    """Read a weight file.

    Returns:
        The state dict, float32 on the CPU, and the entry.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightsError: If it is damaged, no safetensors file, or one without an entry.
    """
    entry, tensors = _open(path, _tensors)
    return {key: tensor.to(torch.float32) for key, tensor in tensors.items()}, entry


def read_entry(path: str | PathLike[str]) -> Entry:
    """Read the entry alone, without the tensors; raises as `read_weights` does."""
    return _open(path, lambda _: None)[0]


def empty_model(options: NetworkOptions) -> DeepLab:
    """Build the network around uninitialised memory, to be filled or compared with.

    This takes a tenth of `create_model`'s time, most of which goes into random numbers.

    Raises:
        InputError: If the options do not exist for this network.
    """
    with _WithoutDrawing():
        return build_network(options)


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
    model: DeepLab,
    state: Mapping[str, Tensor],
    *,
    source: str,
    names: Mapping[str, str] | None = None,
    unknown: Sequence[str] = (),
) -> None:
    """Refuse a state dict that is not exactly the network's.

    Args:
        model: The network, such as `empty_model` gives.
        state: Parameters and buffers; counts of seen batches may be missing.
        source: What the error says does not fit, such as a file's name.
        names: What a parameter is called in the file, where that differs.
        unknown: Further names in the file that mean nothing to the network.

    Raises:
        WeightsError: Naming the first missing, unexpected and misshapen keys, with their number.
    """
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
        raise WeightsError(
            f"{source} does not fit {model.options.name} with {model.num_classes} classes: "
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
        raise WeightsError(
            f"{path} is not a readable safetensors file ({error}); if it is damaged or cut short, "
            "fetch it again"
        ) from error
    if text is None:
        raise WeightsError(
            f"{path} holds no entry ({METADATA_KEY} in its metadata), so its classes and "
            "preprocessing are unknown; use a file written by atrous"
        )
    try:
        return Entry.from_json(text), content
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _tensors(file: Any) -> dict[str, Tensor]:
    names = file.keys()
    return {name: file.get_tensor(name) for name in names}


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"


def _first(keys: Sequence[str]) -> str:
    rest = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
