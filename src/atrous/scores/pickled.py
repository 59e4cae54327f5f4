"""Reads the pickles inside .npy files without doing what they ask for.

numpy pickles a dictionary that it is given to save, and a pickle may call any function that it
names. Here the few names that arrays, numbers and torch's tensors need stand for records of what
the file gave them, any other name is refused, and arrays are built from the records by code that
checks every length. The hooks of numpy and torch that do this elsewhere trust their input and are
never called.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from ..errors import DataError

NUMBERS = "biuf"  # kinds of dtypes
STORAGES = {
    "BoolStorage": "?",
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
}
# What pickle and the building of records raise on damaged bytes.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    MemoryError,
    struct.error,
)


def read_pickled(file: BinaryIO) -> Any:
    """Read one pickle that holds nothing but arrays, containers, text and numbers.

    Args:
        file: Open where the pickle begins.

    Returns:
        dict, list and tuple as they are; arrays and torch's tensors as numpy arrays; an array of
        objects as the object, or as a list of them.

    Raises:
        DataError: If the pickle names anything else, which is not called, or is damaged.
    """
    try:
        return _build(_Unpickler(file, encoding="latin1").load(), {})
    except _ForbiddenError as error:
        raise DataError(str(error)) from error
    except _DAMAGE as error:
        raise DataError(f"damaged or cut short: {error}") from error


class _ForbiddenError(pickle.UnpicklingError):
    """A name that is not needed to hold numbers."""


class _Record:
    """What a pickle gave to a name: arguments, and a state where there is one."""

    __slots__ = ("given", "state")
    given: tuple[Any, ...]
    state: Any

    def __new__(cls, *given: Any) -> _Record:
        self = super().__new__(cls)
        self.given, self.state = given, None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def build(self, built: dict[int, Any]) -> Any:
        raise DataError("a type stands where a value belongs")


class _Text(_Record):
    """Bytes, as protocols before 3 write them: text that is to be encoded as latin-1."""

    def build(self, built: dict[int, Any]) -> bytes:
        return _to_bytes(self.given[0])


class _Dtype(_Record):
    """A numpy dtype: its code, and a state that begins with version and byte order."""

    def build(self, built: dict[int, Any]) -> np.dtype[Any]:
        code = self.given[0] if isinstance(self.given[0], str) else "V"
        dtype = np.dtype(code)
        if dtype.kind not in f"{NUMBERS}O":
            raise DataError(f"arrays of {code!r} are not read here, numbers are")
        return dtype.newbyteorder(">") if self.state and self.state[1] == ">" else dtype


class _Array(_Record):
    """A numpy array: its state is version, shape, dtype, Fortran order, content."""

    def build(self, built: dict[int, Any]) -> Any:
        _, shape, dtype, is_fortran, content = self.state
        dtype, content = _build(dtype, built), _build(content, built)
        if dtype.kind == "O":
            return content[0] if shape == () else list(content)
        data, shape = _to_bytes(content), _whole(shape)
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise DataError(f"{len(data)} bytes for an array of shape {shape} and type {dtype}")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


class _Scalar(_Record):
    """A numpy number: dtype and content."""

    def build(self, built: dict[int, Any]) -> Any:
        dtype, content = (_build(value, built) for value in self.given)
        if not isinstance(dtype, np.dtype):
            raise DataError("a number without a type")
        return np.frombuffer(_to_bytes(content), dtype, 1)[0].item()


class _Storage(_Record):
    """The memory of a torch tensor: what torch.save wrote before it wrote zip files.

    Five pickles (a magic number, version, machine, description, keys), the number of elements, and
    the elements.
    """

    def build(self, built: dict[int, Any]) -> NDArray[Any]:
        file = io.BytesIO(_to_bytes(self.given[0]))
        *_, description, _ = (_Unpickler(file).load() for _ in range(5))
        if description[1] not in STORAGES.values():
            raise DataError("a storage without a type")
        dtype = np.dtype(description[1])
        count = int.from_bytes(file.read(8), "little")
        return np.frombuffer(file.read(), dtype, count)


class _Tensor(_Record):
    """A torch tensor: storage, offset, size, stride, and what only training needs."""

    def build(self, built: dict[int, Any]) -> NDArray[Any]:
        storage, offset, size, stride = (_build(value, built) for value in self.given[:4])
        if min(_whole((offset, *size, *stride))) < 0:
            raise DataError(f"a tensor of size {size} with strides {stride} from {offset}")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if 0 in size:
            return np.zeros(size, storage.dtype)
        if last >= len(storage) or math.prod(size) > len(storage):
            raise DataError(f"a tensor of size {size} in a memory of {len(storage)}")
        steps = [step * storage.itemsize for step in stride]
        return as_strided(storage[offset:], size, steps, writeable=False).copy()


def _dict(pairs: Any = ()) -> dict[Any, Any]:
    return {_key(key): value for key, value in pairs}


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Record,
    ("numpy", "dtype"): _Dtype,
    **{
        (f"numpy.{core}.multiarray", name): record
        for core in ("core", "_core")  # of numpy 1 and numpy 2
        for name, record in (("_reconstruct", _Array), ("scalar", _Scalar))
    },
    ("_codecs", "encode"): _Text,
    ("collections", "OrderedDict"): _dict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch.storage", "_load_from_bytes"): _Storage,
    **{("torch", name): dtype for name, dtype in STORAGES.items()},
}


_InPython: Any = pickle._Unpickler  # pyright: ignore[reportPrivateUsage]


class _Unpickler(_InPython):
    """The one of the standard library that is written in Python: its steps can be looked at.

    The one in C reserves room for any number of objects that a file claims to hold, and hashes any
    key; a tuple of doubled tuples takes for ever.
    """

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Give the record that stands for a name."""
        if (module_name, global_name) not in _NAMES:
            raise _ForbiddenError(
                f"a pickle in it asks for {module_name}.{global_name}, which is not run here; save "
                "numpy arrays, or a dict of them"
            )
        return _NAMES[module_name, global_name]

    def persistent_load(self, pid: Any) -> Any:
        """Give the description of a torch storage as it stands."""
        return pid

    def _check_keys(self) -> None:
        """Look at what is to become the items of a dictionary, keys and values by turns."""
        for key in self.stack[::2]:
            _key(key)

    def load_setitem(self) -> None:
        _key(self.stack[-2])
        super().load_setitem()

    def load_setitems(self) -> None:
        self._check_keys()
        super().load_setitems()

    def load_dict(self) -> None:
        self._check_keys()
        super().load_dict()

    def refuse_set(self) -> None:
        raise _ForbiddenError("a pickle in it holds a set; save numpy arrays, or a dict of them")

    dispatch: ClassVar = {
        **_InPython.dispatch,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.EMPTY_SET[0]: refuse_set,
        pickle.FROZENSET[0]: refuse_set,
    }


def _key(key: Any) -> Any:
    """Refuse keys that are neither text nor numbers."""
    if not isinstance(key, (str, bytes, int, float, _Record)):
        raise _ForbiddenError(
            f"a dictionary in it has a {type(key).__name__} as a key; text and numbers are read"
        )
    return key


def _build(node: Any, built: dict[int, Any]) -> Any:
    """Turn records into what they stand for; each once, however often it is referred to."""
    if not isinstance(node, (_Record, dict, list, tuple)):
        return node
    if id(node) not in built:
        if isinstance(node, _Record):
            value = node.build(built)
        elif isinstance(node, dict):
            value = {_build(key, built): _build(item, built) for key, item in node.items()}
        else:
            value = [_build(item, built) for item in node]
            value = tuple(value) if isinstance(node, tuple) else value
        built[id(node)] = value
    return built[id(node)]


def _whole(numbers: Any) -> tuple[int, ...]:
    """Refuse all but whole numbers; to print nested lists, as they are, could take for ever."""
    if not isinstance(numbers, tuple) or not all(isinstance(n, int) for n in numbers):
        raise DataError("a size that is not made of whole numbers")
    return numbers


def _to_bytes(content: Any) -> bytes:
    """Give the bytes that a pickle holds as bytes, or (from Python 2) as latin-1 text."""
    if isinstance(content, str):
        return content.encode("latin1")
    if not isinstance(content, (bytes, bytearray)):
        raise DataError(f"{type(content).__name__} where bytes belong")
    return bytes(content)
