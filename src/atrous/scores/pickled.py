"""Read the pickles inside .npy files without running them.

numpy pickles a dictionary that it is asked to save, and a pickle can call any function that it
names. This reader puts functions of its own in the place of the few that numbers, numpy arrays and
torch tensors need, and refuses every other name. File size, opcodes and copied bytes are limited.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import pickle
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

NUMBERS = "biuf"  # kinds of dtypes
MAX_BYTES = 2**30
MAX_OPCODES = 100_000  # a dictionary of 100 tensors takes 12,000
TORCH_DTYPES = {
    "torch.BoolStorage": "b1",
    "torch.ByteStorage": "u1",
    "torch.CharStorage": "i1",
    "torch.ShortStorage": "i2",
    "torch.IntStorage": "i4",
    "torch.LongStorage": "i8",
    "torch.HalfStorage": "f2",
    "torch.FloatStorage": "f4",
    "torch.DoubleStorage": "f8",
}
DTYPES = frozenset((*TORCH_DTYPES.values(), "u2", "u4", "u8", "O8"))  # O8: Python objects
# Sets hash any value, DUP repeats any value, BYTEARRAY8 reserves any length, and the others call
# or look up objects. numpy and torch write none of them.
_REFUSED_OPCODES = (
    *(pickle.EMPTY_SET, pickle.FROZENSET, pickle.DUP, pickle.BYTEARRAY8, pickle.INST, pickle.OBJ),
    *(pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4),
)


def read_pickled(file: BinaryIO, size: int) -> Any:
    """Read one pickle of arrays, containers, text and numbers.

    Args:
        file: Open at the start of the pickle.
        size: Bytes of the whole file.

    Returns:
        dict, list and tuple as they are; arrays and torch tensors as numpy arrays; an array of
        objects as the object, or as a list of them.

    Raises:
        DataError: If the pickle is damaged or too large, or names anything else (which is never
            called).
    """
    if size > MAX_BYTES:
        raise DataError(
            f"a pickle of {size:,} bytes, above the limit of {MAX_BYTES:,}; save a .npz file"
        )
    try:
        return _Unpickler(io.BytesIO(file.read(size)), itertools.count(1)).load()
    except _RefusedError as error:
        raise DataError(str(error)) from error
    except Exception as error:  # pickle documents that damaged bytes may raise anything
        raise DataError(f"damaged or cut short: {str(error)[:200]}") from error


class _RefusedError(Exception):
    """A pickle holds something that scores do not need."""


def _refuse(what: str) -> NoReturn:
    raise _RefusedError(f"a pickle in it {what}; save numpy arrays, or a dict of them")


_PythonUnpickler: Any = pickle._Unpickler  # pyright: ignore[reportPrivateUsage]


class _Unpickler(_PythonUnpickler):
    """An unpickler that calls its own methods only.

    It extends the pure-Python unpickler: the one in C allocates memory for any memo index, and
    hashes any dictionary key, which takes exponential time for tuples of repeated tuples.
    """

    def __init__(self, file: io.BytesIO, opcodes: Iterator[int]) -> None:
        super().__init__(file, encoding="latin1")
        self.opcodes = opcodes  # counts them, in nested pickles as well
        self.copied = 0  # bytes

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return this reader's replacement of a function, or the dtype of a torch storage."""
        name = f"{module_name}.{global_name}"
        replacement = self.replacements.get(name.replace("numpy._core.", "numpy.core."))
        if replacement is None:
            _refuse(f"asks for {ascii(name[:99])[1:-1]}, which is not run here")
        return replacement if isinstance(replacement, str) else functools.partial(replacement, self)

    def persistent_load(self, pid: Any) -> Any:
        """Return the description of a torch storage unchanged."""
        return pid

    def run_opcode(self, code: bytes) -> None:
        """Run an opcode whose cost is bounded."""
        if next(self.opcodes) > MAX_OPCODES:
            _refuse("holds too many objects")
        if code in _REFUSED_OPCODES:
            _refuse("holds a set or an object")
        if code == pickle.REDUCE and not isinstance(self.stack[-1], tuple):
            _refuse("calls a function without a tuple of arguments")
        if code == pickle.BUILD:
            self.set_state(self.stack.pop())
        elif code == pickle.SETITEM:
            items = [self.stack.pop(), self.stack.pop()]
            self.set_items(items[::-1])
        elif code in (pickle.SETITEMS, pickle.DICT):
            items = self.pop_mark()
            if code == pickle.DICT:
                self.append({})
            self.set_items(items)
        else:
            _PythonUnpickler.dispatch[code[0]](self)

    dispatch: ClassVar = {
        code: lambda self, code=bytes([code]): self.run_opcode(code)
        for code in _PythonUnpickler.dispatch
    }

    def set_items(self, items: list[Any]) -> None:
        """Put alternating keys and values into the dictionary on top of the stack."""
        if not isinstance(self.stack[-1], dict):
            _refuse("changes an object")
        for key, value in zip(items[::2], items[1::2], strict=True):
            is_number = isinstance(key, float) or (isinstance(key, int) and abs(key) < 2**64)
            if not is_number and not isinstance(key, (str, bytes)):
                _refuse(f"has a {type(key).__name__} as a key of a dictionary")
            self.stack[-1][key] = value

    def set_state(self, state: Any) -> None:
        """Fill in the array or dtype on top of the stack; nothing else has a state."""
        target: Any = self.stack[-1]
        if isinstance(target, np.dtype):
            if state[1] == ">":
                cast("Any", target).__setstate__((3, ">", None, None, None, -1, -1, 0))
            return
        if not isinstance(target, np.ndarray):
            _refuse("changes an object")
        _, shape, dtype, is_fortran, content = state
        if not isinstance(dtype, np.dtype):
            raise DataError("an array without a dtype")
        if dtype.kind == "O":
            if len(self.stack) > 1 or self.metastack or not isinstance(content, list):
                _refuse("holds an array of objects inside another object")
            self.stack[-1] = content if shape else content[0]
            return
        data, shape = self.to_bytes(content), _check_sizes(shape)
        if len(data) != math.prod(shape) * dtype.itemsize:
            raise DataError(f"{len(data)} bytes for an array of shape {shape} and dtype {dtype}")
        cast("Any", target).__setstate__((1, shape, dtype, bool(is_fortran), data))

    def to_bytes(self, content: Any, *_: Any) -> bytes:
        """Return bytes, which protocols before 3 write as latin-1 text."""
        if not isinstance(content, (str, bytes)):
            raise DataError(f"{type(content).__name__} instead of bytes")
        self.copied += len(content)
        if self.copied > 2 * MAX_BYTES:
            _refuse("repeats too many bytes")
        return content if isinstance(content, bytes) else content.encode("latin1")

    def to_dtype(self, code: Any, *_: Any) -> np.dtype[Any]:
        if not isinstance(code, str) or code not in DTYPES:
            name = ascii(code[:20]) if isinstance(code, str) else type(code).__name__
            raise DataError(f"arrays of {name} are not read here; save numbers")
        return np.dtype(code, copy=True)  # a copy, because `set_state` changes it

    def to_number(self, dtype: Any, content: Any) -> Any:
        if not isinstance(dtype, np.dtype) or dtype.kind == "O":
            raise DataError("a number without a dtype of numbers")
        return np.frombuffer(self.to_bytes(content), dtype, 1)[0].item()

    def to_storage(self, content: Any) -> tuple[str, bytes, int]:
        """Return dtype, bytes and offset of the elements in what torch.save wrote before zip files.

        That is five pickles (a magic number, version, machine, description, keys), the number of
        elements, and the elements.
        """
        file = io.BytesIO(content[:4096])  # the pickles take less than 1,000 bytes
        *_, description, _ = (_Unpickler(file, self.opcodes).load() for _ in range(5))
        return description[1], content, file.tell() + 8

    def to_tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> NDArray[Any]:
        code, content, start = storage
        dtype = self.to_dtype(code)
        if not isinstance(content, bytes) or dtype.kind == "O":
            raise DataError("a tensor without a storage of numbers")
        start, offset = _check_sizes((start, offset))
        size, stride = _check_sizes(size), _check_sizes(stride)
        count = (len(content) - start) // dtype.itemsize
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if 0 in size:
            return np.empty(size, dtype)
        if last >= count or math.prod(size) > count:
            raise DataError(f"a tensor of size {size} and strides {stride} in {count} elements")
        steps = [step * dtype.itemsize for step in stride]
        return np.ndarray(size, dtype, content, start + offset * dtype.itemsize, steps)

    replacements: ClassVar[dict[str, Any]] = {
        "numpy.ndarray": lambda *_: np.empty(0),
        "numpy.dtype": to_dtype,
        "numpy.core.multiarray._reconstruct": lambda *_: np.empty(0),
        "numpy.core.multiarray.scalar": to_number,
        "_codecs.encode": to_bytes,
        "collections.OrderedDict": lambda _: {},
        "torch._utils._rebuild_tensor_v2": to_tensor,
        "torch.storage._load_from_bytes": to_storage,
        **TORCH_DTYPES,
    }


def _check_sizes(numbers: Any) -> tuple[int, ...]:
    """Check a shape. It is not printed: nested tuples can be exponentially long."""
    if not isinstance(numbers, tuple) or len(numbers) > 32:
        raise DataError("a shape that is not a tuple of at most 32 numbers")
    if not all(isinstance(n, int) and 0 <= n < 2**63 for n in numbers):
        raise DataError("a shape that is not made of whole numbers")
    return numbers
