"""Pickles in .npy files: the arrays that honest ones hold, and nothing that hostile ones want."""

from __future__ import annotations

import collections
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atrous.scores.pickled import read_pickled

# How numpy 1 called the module that numpy 2 calls numpy._core
NUMPY_1 = (b"numpy._core.multiarray", b"numpy.core.multiarray")


def through(value: Any, protocol: int = 4) -> Any:
    return read_pickled(io.BytesIO(pickle.dumps(value, protocol)))


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *args: Any, state: Any = None) -> None:
        self.call = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> Any:
        return self.call


def draw(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(dtype)


# --- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_containers_numbers_and_text_come_back(protocol: int) -> None:
    value = {"a": [1, 2.5, True, None, "text"], 3: (1, ("b",)), "bytes": b"\x00\xff"}
    assert through(value, protocol) == value


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "u1", "i8", ">i2", "?"])
def test_arrays_come_back(dtype: str, protocol: int) -> None:
    array = (draw(2, 3, 4) * 100).astype(dtype)
    held = through({"map": array, "turned": np.asfortranarray(array)}, protocol)
    np.testing.assert_array_equal(held["map"], array)
    np.testing.assert_array_equal(held["turned"], array)
    assert held["map"].dtype == array.dtype


def test_arrays_of_numpy_1_come_back() -> None:
    pickled = pickle.dumps({"map": draw(2, 3), "key": np.float32(2)}, 2).replace(*NUMPY_1)
    assert b"_core" not in pickled
    held = read_pickled(io.BytesIO(pickled))
    np.testing.assert_array_equal(held["map"], draw(2, 3))
    assert held["key"] == 2


def test_array_of_python_2_comes_back() -> None:
    written = (  # as cPickle of Python 2 writes it: bytes are str
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nt"
        b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
        b"S'\\x00\\x00\\x80?\\x00\\x00\\x00\\xc0'\ntb."
    )
    assert read_pickled(io.BytesIO(written)).tolist() == [1, -2]


def test_numpy_numbers_become_python_numbers() -> None:
    held = through({np.int64(3): np.float64(0.5), "x": np.bool_(True)})
    assert held == {3: 0.5, "x": True}
    assert [type(key) for key in held] == [int, str]


def test_arrays_of_objects_become_what_they_hold() -> None:
    alone = np.empty((), object)
    alone[()] = {"a": 1}
    assert through(alone) == {"a": 1}
    assert through(np.array([{"a": 1}, None], object)) == [{"a": 1}, None]


def test_what_is_held_twice_is_built_once() -> None:
    array = draw(3)
    held = through([array, array])
    assert held[0] is held[1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int64])
def test_torch_tensors_become_arrays(dtype: torch.dtype) -> None:
    tensor = torch.from_numpy(draw(2, 5, 4) * 100).to(dtype)
    held = through({"map": tensor, "part": tensor[1, ::2].T, "none": tensor[:0]})
    np.testing.assert_array_equal(held["map"], tensor.numpy())
    np.testing.assert_array_equal(held["part"], tensor[1, ::2].T.numpy())
    assert held["none"].shape == (0, 5, 4)


# --- what is refused ------------------------------------------------------------------------------


def os_system(mark: Path) -> Call:
    return Call(os.system, f"touch {mark}")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda call: call,
        lambda call: {"keys": [0], "high_res": call},
        lambda call: {"keys": [0], call: 1},
        lambda call: np.array([call, 1], object),
        lambda call: [draw(3), call],
        lambda call: collections.OrderedDict(x=call),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickle_is_refused_and_not_run(tmp_path: Path, wrap: Any, protocol: int) -> None:
    hostile = pickle.dumps(wrap(os_system(tmp_path / "run")), protocol)
    with pytest.raises(ValueError, match=r"asks for (posix|nt)\.system, which is not run here"):
        read_pickled(io.BytesIO(hostile))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "builtins getattr",
        "builtins __import__",
        "os system",
        "numpy load",
        "numpy.testing._private.utils runstring",
        "numpy._core.multiarray fromfile",
        "torch load",
        "torch._utils _rebuild_parameter",
        "collections defaultdict",
        "operator attrgetter",
        "copyreg _reconstructor",
        "functools partial",
        "atrous.scores.pickled pickle",
        "numpy dtype.__class__",
    ],
)
def test_every_other_name_is_refused(name: str) -> None:
    module, attribute = name.split()
    hostile = b"\x80\x04" + b"".join(
        b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, attribute)
    )
    with pytest.raises(ValueError, match=f"asks for {module}.{attribute}"):
        read_pickled(io.BytesIO(hostile + b"\x93)R."))


def test_hostile_storage_inside_a_tensor_is_refused(tmp_path: Path) -> None:
    inner = pickle.dumps(os_system(tmp_path / "run"))
    hostile = pickle.dumps(torch.zeros(3))
    blob = next(a for o, a, _ in _operations(hostile) if o.name in ("BINBYTES", "SHORT_BINBYTES"))
    hostile = hostile.replace(len(blob).to_bytes(4, "little") + blob, _sized(inner))
    with pytest.raises(ValueError, match=r"asks for (posix|nt)\.system"):
        read_pickled(io.BytesIO(b"\x80\x04" + hostile[11:]))
    assert not (tmp_path / "run").exists()


def _operations(pickled: bytes) -> Any:
    import pickletools

    return pickletools.genops(pickled)


def _sized(content: bytes) -> bytes:
    return len(content).to_bytes(4, "little") + content


def array_of(state: tuple[Any, ...]) -> Call:
    """Pickle an array with a state of our choice."""
    rebuild, args, _ = np.zeros(3).__reduce__()  # type: ignore[misc]
    return Call(rebuild, *args, state=state)


POINTERS = b"\x41" * 16


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ((1, (3,), np.dtype("f4"), False, b"123"), "3 bytes for an array of shape"),
        ((1, (2**40, 2**40), np.dtype("f4"), False, b""), "0 bytes for an array"),
        ((1, (-1,), np.dtype("f4"), False, b"1234"), "4 bytes for an array"),
        ((1, (2,), np.dtype("O"), False, POINTERS), ""),  # pointers of the file's choice
        ((1, (2,), np.dtype("V8"), False, POINTERS), "arrays of 'V8' are not read"),
        ((1, (2,), np.dtype("U2"), False, POINTERS), "arrays of 'U2' are not read"),
        ((1, (2,), np.dtype("f4"), False, 7), "int where bytes belong"),
        ((1, (2,), np.dtype("f4")), "not enough values"),
    ],
)
def test_arrays_that_are_not_what_they_say_are_refused(state: Any, says: str) -> None:
    if not says:
        held = through([array_of(state)])  # as numbers: what a pointer would point to is not read
        assert held == [[0x41] * 16]
        return
    with pytest.raises(ValueError, match=f"damaged or cut short: .*{says}"):
        through([array_of(state)])


@pytest.mark.parametrize(
    "view",
    [
        {"storage_offset": 3, "size": (2,), "stride": (1,)},
        {"storage_offset": 0, "size": (2, 3), "stride": (3, 1)},
        {"storage_offset": 0, "size": (10**6, 10**6), "stride": (0, 0)},
        {"storage_offset": -1, "size": (2,), "stride": (1,)},
        {"storage_offset": 3, "size": (2,), "stride": (-1,)},
    ],
)
def test_tensors_that_reach_beyond_their_memory_are_refused(view: dict[str, Any]) -> None:
    rebuild, (storage, *_, requires_grad, hooks) = torch.zeros(4).__reduce_ex__(2)  # type: ignore[misc]
    call = Call(rebuild, storage, *view.values(), requires_grad, hooks)
    with pytest.raises(ValueError, match="a tensor of size"):
        through(call)


def test_deep_nesting_and_loops_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match=r"damaged or cut short: .*recursion"):
        through(loop)
    with pytest.raises(ValueError, match=r"damaged or cut short: .*recursion"):
        read_pickled(io.BytesIO(b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b"."))


def test_repeated_doubling_takes_no_room() -> None:
    value: list[Any] = ["lol"]
    for _ in range(60):
        value = [value, value]
    assert len(through(value)) == 2


def doubled(first: Any) -> Any:
    """Nest tuples that would take 2**60 places in print."""
    value = (first,)
    for _ in range(60):
        value = (value, value)
    return value


def torch_call(place: int, value: Any) -> Call:
    rebuild, arguments = torch.zeros(4).__reduce_ex__(2)  # type: ignore[misc]
    return Call(rebuild, *arguments[:place], value, *arguments[place + 1 :])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Call(np.dtype, doubled("f4")), "a type stands|arrays of 'V' are not read"),
        (array_of((1, doubled(1), np.dtype("f4"), False, b"")), "not made of whole numbers"),
        (array_of((1, (1, doubled(1)), np.dtype("f4"), False, b"")), "not made of whole numbers"),
        (array_of((1, (1,), doubled("f4"), False, b"")), "no attribute 'kind'"),
        (Call(np.float32(1).__reduce__()[0], doubled("f4"), b"1234"), "number without a type"),
        (torch_call(1, doubled(0)), "not made of whole numbers"),
        (torch_call(2, doubled(4)), "not made of whole numbers"),
        (torch_call(3, doubled(1)), "not made of whole numbers"),
    ],
)
def test_repeated_doubling_is_refused_without_printing_it(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        through(value)


KEY = b"K\x01\x85" + 60 * b"2\x86"  # 1 in a tuple, and 60 times the last one twice in another


@pytest.mark.parametrize(
    "items",
    [
        b"}" + KEY + b"K\x02s",
        b"}(K\x00K\x00" + KEY + b"K\x02u",
        b"(" + KEY + b"K\x02d",
        b"ccollections\nOrderedDict\n]" + KEY + b"K\x02\x86a\x85R",
    ],
)
def test_keys_that_take_for_ever_to_hash_are_refused(items: bytes) -> None:
    with pytest.raises(ValueError, match="has a tuple as a key; text and numbers are read"):
        read_pickled(io.BytesIO(b"\x80\x02" + items + b"."))


@pytest.mark.parametrize("value", [{1, 2}, frozenset({1, 2})])
def test_sets_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="holds a set"):
        through(value)


def test_a_file_that_claims_to_hold_many_objects_takes_no_room() -> None:
    claim = b"\x80\x02K\x01r\xff\xff\xff\x7f."  # one number, kept in place 2**31 - 1
    assert read_pickled(io.BytesIO(claim)) == 1


def test_damaged_bytes_never_raise_anything_else() -> None:
    whole = pickle.dumps({"keys": torch.tensor([1, 2]), "cam": draw(2, 3, 4), 3: np.float32(1)})
    generator = np.random.default_rng(0)
    for _ in range(500):
        content = bytearray(whole[: generator.integers(1, len(whole) + 1)])
        for place in generator.integers(0, len(content), 4):
            content[place] = generator.integers(0, 256)
        try:
            read_pickled(io.BytesIO(content))
        except ValueError as error:
            assert str(error)  # noqa: PT017 (either outcome is right)
