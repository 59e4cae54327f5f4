"""Reads and writes weights files: safetensors with the entry in the metadata."""

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

# The only metadata key: safetensors writes several keys in random order, and equal weights must
# give equal files.
METADATA_KEY = "atrous_entry"
RANDOM_FILLS = (
    Tensor.normal_,
    Tensor.uniform_,
    init.normal_,
    init.uniform_,
    init.kaiming_uniform_,
)
MAX_SHOWN = 4  # names of a long list that an error prints


def save_weights(
    path: str | PathLike[str],
    state: Mapping[str, Tensor],
    entry: Entry,
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights and their entry; a crash leaves either the old file or the new one.

    Args:
        path: The .safetensors file to write.
        state: A network's state dict. Batch norm's batch counters are not written.
        entry: Describes the weights; its options must build a network that `state` fits.
        dtype: Type of the stored filters. Vectors (batch norm, biases) stay float32: they are
            small, and variances of unscaled inputs exceed float16's maximum of 65504.

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
                f"{key} holds values that are not finite in {dtype}; nothing was written"
            )
        tensors[key] = stored.contiguous()
    write_bytes(path, save(tensors, {METADATA_KEY: entry.to_json()}))


def read_weights(path: str | PathLike[str]) -> tuple[dict[str, Tensor], Entry]:
    """Read a weights file written by this project.

    Returns:
        The state dict, float32 on the CPU, and the entry.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightsError: If the file is damaged, not a safetensors file, or has no entry.
    """
    entry, tensors = _open(path, _tensors)
    return {key: tensor.to(torch.float32) for key, tensor in tensors.items()}, entry


def read_entry(path: str | PathLike[str]) -> Entry:
    """Read the entry without the tensors; errors as for `read_weights`."""
    return _open(path, lambda _: None)[0]


def empty_model(options: NetworkOptions) -> DeepLab:
    """Build the network with uninitialised parameters, ready to load a state dict into.

    This takes a tenth of the time of `create_model`, which mostly draws random numbers.

    Raises:
        InputError: If the network does not exist or does not have an option.
    """
    with _SkipInitialisation():
        return build_network(options)


class _SkipInitialisation(TorchFunctionMode):
    """Turns functions that fill a tensor with random numbers into no-ops."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in RANDOM_FILLS:
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
    """Check that a state dict has exactly the network's keys and shapes.

    Args:
        model: The network, such as `empty_model` returns.
        state: Parameters and buffers; batch norm's batch counters may be missing.
        source: Subject of the error message, such as a file name.
        names: Name in the network -> name in the file, where they differ; used in messages.
        unknown: Further names in the file that the network does not have.

    Raises:
        WeightsError: If keys are missing, unexpected or of the wrong shape; gives their number and
            the first of each.
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
    kinds = [("missing", missing), ("unexpected", unexpected), ("of wrong shape", misshapen)]
    problems = [f"{len(keys)} {kind} ({_first(keys)})" for kind, keys in kinds if keys]
    if problems:
        raise WeightsError(
            f"{source} does not fit {model.options.name} with {model.num_classes} classes: "
            + "; ".join(problems)
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
            "download it again"
        ) from error
    if text is None:
        raise WeightsError(
            f"{path} has no weights entry ({METADATA_KEY} in its metadata), so its classes and "
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
    rest = len(keys) - MAX_SHOWN
    return ", ".join(keys[:MAX_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
