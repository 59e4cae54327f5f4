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


def read(content: bytes | bytearray) -> Any:
    return read_pickled(io.BytesIO(content), len(content))


def through(value: Any, protocol: int = 4) -> Any:
    return read(pickle.dumps(value, protocol))


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
    assert held["map"].dtype == array.dtype.newbyteorder("=")


def test_arrays_of_numpy_1_come_back() -> None:
    pickled = pickle.dumps({"map": draw(2, 3), "key": np.float32(2)}, 2).replace(*NUMPY_1)
    assert b"_core" not in pickled
    held = read(pickled)
    np.testing.assert_array_equal(held["map"], draw(2, 3))
    assert held["key"] == 2


def test_array_of_python_2_comes_back() -> None:
    written = (  # as cPickle of Python 2 writes it: bytes are str
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nt"
        b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
        b"S'\\x00\\x00\\x80?\\x00\\x00\\x00\\xc0'\ntb."
    )
    assert read(written).tolist() == [1, -2]


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
        read(hostile)
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
        read(hostile + b"\x93)R.")


def test_hostile_storage_inside_a_tensor_is_refused(tmp_path: Path) -> None:
    inner = pickle.dumps(os_system(tmp_path / "run"))
    hostile = pickle.dumps(torch.zeros(3))
    blob = next(a for o, a, _ in _operations(hostile) if o.name in ("BINBYTES", "SHORT_BINBYTES"))
    hostile = hostile.replace(len(blob).to_bytes(4, "little") + blob, _sized(inner))
    with pytest.raises(ValueError, match=r"asks for (posix|nt)\.system"):
        read(b"\x80\x04" + hostile[11:])
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
        ((1, (-1,), np.dtype("f4"), False, b"1234"), "shape that is not made of whole numbers"),
        ((1, (2**62, 4), np.dtype("f4"), False, b""), "0 bytes for an array"),
        ((1, (2**64, 0), np.dtype("f4"), False, b""), "shape that is not made of whole numbers"),
        ((1, (1,) * 33, np.dtype("f4"), False, b"1234"), "not a tuple of at most 32 numbers"),
        ((1, (2,), np.dtype("V8"), False, POINTERS), "arrays of 'V8' are not read"),
        ((1, (2,), np.dtype("U2"), False, POINTERS), "arrays of 'U2' are not read"),
        ((1, (2,), np.dtype("f4"), False, 7), "int instead of bytes"),
        ((1, (2,), np.dtype("f4")), "not enough values"),
        ((1, (2,), "f4", False, b"12345678"), "an array without a dtype"),
    ],
)
def test_arrays_that_are_not_what_they_say_are_refused(state: Any, says: str) -> None:
    with pytest.raises(ValueError, match=f"damaged or cut short: .*{says}"):
        through([array_of(state)])


def test_pointers_in_the_file_are_not_followed() -> None:
    objects = np.dtype("O")
    for state in ((1, (2,), objects, False, POINTERS), (1, (), objects, False, POINTERS)):
        with pytest.raises(ValueError, match="an array of objects"):
            through(array_of(state))
    with pytest.raises(ValueError, match="a number without a dtype of numbers"):
        through(Call(np.float32(1).__reduce__()[0], objects, POINTERS))
    rebuild, arguments = torch.zeros(2).__reduce_ex__(2)  # type: ignore[misc]
    for storage in (("O8", POINTERS, 0), ("f8", np.zeros(2), 0), ("f8", [POINTERS], 0)):
        with pytest.raises(ValueError, match="a tensor without a storage of numbers"):
            through(Call(rebuild, storage, *arguments[1:]))


def test_an_array_of_objects_inside_another_object_is_refused() -> None:
    with pytest.raises(ValueError, match="an array of objects inside another object"):
        through({"keys": np.array([1, None], object)})


@pytest.mark.parametrize(
    "view",
    [
        {"storage_offset": 3, "size": (2,), "stride": (1,)},
        {"storage_offset": 0, "size": (2, 3), "stride": (3, 1)},
        {"storage_offset": 0, "size": (10**6, 10**6), "stride": (0, 0)},
        {"storage_offset": -1, "size": (2,), "stride": (1,)},
        {"storage_offset": 3, "size": (2,), "stride": (-1,)},
        {"storage_offset": 0, "size": (5,), "stride": (2**62,)},  # 2**64 bytes, 0 in 64 bits
        {"storage_offset": 2**62, "size": (1,), "stride": (1,)},
    ],
)
def test_tensors_that_reach_beyond_their_memory_are_refused(view: dict[str, Any]) -> None:
    rebuild, (storage, *_, requires_grad, hooks) = torch.zeros(4).__reduce_ex__(2)  # type: ignore[misc]
    call = Call(rebuild, storage, *view.values(), requires_grad, hooks)
    with pytest.raises(ValueError, match="a tensor of size|shape that is not made of whole"):
        through(call)


def test_loops_and_deep_nesting_cost_nothing() -> None:
    loop: list[Any] = []
    loop.append(loop)
    held = through(loop)
    assert held[0] is held
    held = read(b"\x80\x04" + b"]" * 40_000 + b"a" * 39_999 + b".")
    assert len(held) == 1


@pytest.mark.parametrize("code", [b"]", b"(", b"N0", b"}\x94"])
def test_many_small_objects_are_refused(code: bytes) -> None:
    with pytest.raises(ValueError, match="holds too many objects"):
        read(b"\x80\x04" + code * 200_000 + b".")


def test_opcodes_of_nested_pickles_are_counted() -> None:
    inner = b"".join(b"\x80\x02" + b"N0" * 400 + b"U\x02f4." for _ in range(5))
    load = b"ctorch.storage\n_load_from_bytes\nq\x00" + b"B" + _sized(inner) + b"\x85q\x01"
    calls = b"h\x00h\x01R0" * 1000
    with pytest.raises(ValueError, match="holds too many objects"):
        read(b"\x80\x02" + load + calls + b".")


def test_repeated_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atrous.scores.pickled.MAX_BYTES", 20_000)
    text = b"X" + _sized(b"x" * 5000) + b"q\x01"
    calls = b"c_codecs\nencode\nq\x00" + b"h\x00h\x01\x85R" * 9
    with pytest.raises(ValueError, match="repeats too many bytes"):
        read(b"\x80\x02" + text + calls + b".")


def test_large_files_are_refused_before_they_are_read() -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError("it was read")

    with pytest.raises(ValueError, match=r"a pickle of 1,073,741,825 bytes, above the limit of"):
        read_pickled(Unread(), 2**30 + 1)


@pytest.mark.parametrize(
    ("opcodes", "says"),
    [
        (b"cnumpy\ndtype\nX\x02\x00\x00\x00f4R.", "without a tuple of arguments"),
        (b"cnumpy\ndtype\n}X\x0c\x00\x00\x00__defaults__N\x86b.", "changes an object"),
        (b"cnumpy\ndtype\n}X\x08\x00\x00\x00__dict__Nsb.", "changes an object"),
        (b"]K\x00K\x00s.", "changes an object"),
        (b"cnumpy\ndtype\n)\x81.", "holds a set or an object"),
        (b"(cnumpy\ndtype\no.", "holds a set or an object"),
        (b"(inumpy\ndtype\n.", "holds a set or an object"),
        (b"\x82\x01.", "holds a set or an object"),
        (b"\x96" + (2**40).to_bytes(8, "little") + b".", "holds a set or an object"),
        (b"N2.", "holds a set or an object"),
    ],
)
def test_other_opcodes_are_refused(opcodes: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(b"\x80\x05" + opcodes)


def test_items_of_arrays_cannot_be_set() -> None:
    """numpy would look for the shape of what the file puts there, doubled lists for example."""
    array = pickle.dumps(draw(3), 4)[:-1]
    with pytest.raises(ValueError, match="changes an object"):
        read(array + b"K\x00]s.")


def test_long_names_and_control_characters_are_not_printed() -> None:
    name = b"\x1b[31mevil" * 1000
    with pytest.raises(ValueError, match=r"asks for \\x1b\[31mevil") as caught:
        read(b"\x80\x04c" + name + b"\n" + name + b"\n.")
    assert len(str(caught.value)) < 300
    assert "\x1b" not in str(caught.value)


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
        (Call(np.dtype, doubled("f4")), "arrays of tuple are not read here"),
        (array_of((1, doubled(1), np.dtype("f4"), False, b"")), "not made of whole numbers"),
        (array_of((1, (1, doubled(1)), np.dtype("f4"), False, b"")), "not made of whole numbers"),
        (array_of((1, (1,), doubled("f4"), False, b"")), "an array without a dtype"),
        (Call(np.float32(1).__reduce__()[0], doubled("f4"), b"1234"), "number without a dtype"),
        (torch_call(1, doubled(0)), "not made of whole numbers"),
        (torch_call(2, doubled(4)), "not made of whole numbers"),
        (torch_call(3, doubled(1)), "not made of whole numbers"),
    ],
)
def test_repeated_doubling_is_refused_without_printing_it(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        through(value)


# 1 in a tuple, and 60 times the last tuple twice in another
KEY = b"K\x01\x85" + b"".join(b"q%ch%c\x86" % (n, n) for n in range(60))


@pytest.mark.parametrize(
    "items",
    [
        b"}" + KEY + b"K\x02s",
        b"}(K\x00K\x00" + KEY + b"K\x02u",
        b"(" + KEY + b"K\x02d",
        b"ccollections\nOrderedDict\n)R" + KEY + b"K\x02s",
    ],
)
def test_keys_that_take_exponential_time_to_hash_are_refused(items: bytes) -> None:
    with pytest.raises(ValueError, match="has a tuple as a key of a dictionary"):
        read(b"\x80\x02" + items + b".")


def test_long_numbers_as_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="has a int as a key"):
        through({2**64: 1})


@pytest.mark.parametrize("value", [{1, 2}, frozenset({1, 2})])
def test_sets_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="holds a set"):
        through(value)


def test_a_file_that_claims_to_hold_many_objects_takes_no_room() -> None:
    claim = b"\x80\x02K\x01r\xff\xff\xff\x7f."  # one number, kept in place 2**31 - 1
    assert read(claim) == 1


def test_damaged_bytes_never_raise_anything_else() -> None:
    whole = pickle.dumps({"keys": torch.tensor([1, 2]), "cam": draw(2, 3, 4), 3: np.float32(1)})
    generator = np.random.default_rng(0)
    for _ in range(500):
        content = bytearray(whole[: generator.integers(1, len(whole) + 1)])
        for place in generator.integers(0, len(content), 4):
            content[place] = generator.integers(0, 256)
        try:
            read(content)
        except ValueError as error:
            assert str(error)  # noqa: PT017 (either outcome is right)
