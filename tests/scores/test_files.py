"""Score files of every kind, and what each refusal says."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atrous.image_io import write_probabilities
from atrous.labels import LabelSet, voc_palette
from atrous.scores import read_scores

SHAPE = (3, 4, 5)


def draw(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Draw probabilities."""
    scores = np.random.default_rng(0).random(shape).astype(np.float32) + 0.1
    return scores / scores.sum(axis=0)


def save(path: Path, content: Any) -> Path:
    if isinstance(content, dict) and path.suffix == ".npz":
        np.savez_compressed(path, **content)
    else:
        np.save(path, content, allow_pickle=True)
    return path


# --- probabilities --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_float_arrays_are_read(tmp_path: Path, dtype: str, order: Any) -> None:
    path = save(tmp_path / "a.npy", draw().astype(dtype, order=order))
    scores = read_scores(path, (4, 5))
    assert scores.probabilities.dtype == np.float32
    assert scores.labels == (0, 1, 2)
    assert scores.names is None
    np.testing.assert_allclose(scores.probabilities, draw(), atol=1e-3 if dtype == "f2" else 1e-6)
    np.testing.assert_allclose(scores.probabilities.sum(axis=0), 1, atol=1e-3)


@pytest.mark.parametrize("rounding", [np.rint, np.floor])
def test_quantised_arrays_are_read_as_shares_of_255(tmp_path: Path, rounding: Any) -> None:
    probabilities = draw((80, 4, 5))
    path = save(tmp_path / "a.npy", rounding(255 * probabilities).astype(np.uint8))
    found = read_scores(path).probabilities
    np.testing.assert_allclose(found, probabilities, atol=(0.5 if rounding is np.rint else 1) / 255)


def test_a_batch_of_one_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", draw()[None])
    np.testing.assert_array_equal(read_scores(path, (4, 5)).probabilities, draw())


@pytest.mark.parametrize(
    "content",
    [
        {"anything": draw()},
        {"probabilities": draw(), "names": np.array(["a", "b", "c"]), "other": np.zeros(3)},
    ],
)
@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_named_arrays_are_found(tmp_path: Path, content: Any, name: str) -> None:
    if name == "a.npy":  # pickled text arrays are not needed by any program known
        content.pop("names", None)
    scores = read_scores(save(tmp_path / name, content))
    np.testing.assert_array_equal(scores.probabilities, draw())
    assert scores.names == (("a", "b", "c") if "names" in content else None)


def test_what_this_package_writes_is_read(tmp_path: Path) -> None:
    label_set = LabelSet(("sky", "road", "tree"), voc_palette(3))
    write_probabilities(tmp_path / "a.npz", draw(), label_set)
    scores = read_scores(tmp_path / "a.npz", (4, 5))
    assert scores.names == label_set.names
    np.testing.assert_allclose(scores.probabilities, draw(), rtol=0.023)


def test_float_energies_are_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", {"unary": -np.log(draw())})
    np.testing.assert_allclose(read_scores(path).probabilities, draw(), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_logits_are_put_through_softmax(tmp_path: Path, dtype: str) -> None:
    path = save(tmp_path / "a.npy", (np.log(draw()) + 50).astype(dtype))
    found = read_scores(path, logits=True).probabilities
    np.testing.assert_allclose(found, draw(), atol=0.02 if dtype == "f2" else 1e-4)


# --- class activation maps ------------------------------------------------------------------------


CAMS = np.array([[[0.8, 0.1]], [[0.0, 0.6]]], np.float32)  # 2 classes, 1x2 pixels


@pytest.mark.parametrize(
    "content",
    [
        {"keys": np.array([3, 14]), "high_res": CAMS},
        {"keys": [3, 14], "cam": CAMS},
        {"keys": (3, 14), "cam": np.zeros((2, 9, 9)), "high_res": CAMS},
        {"keys": torch.tensor([3, 14]), "cam": torch.rand(2, 9, 9), "high_res": CAMS},
        {"keys": torch.tensor([3, 14]), "cam": torch.from_numpy(CAMS)},
        {3: CAMS[0], 14: CAMS[1]},
        {np.int64(3): CAMS[0], np.int64(14): CAMS[1]},
        {"3": CAMS[0], "14": CAMS[1]},
    ],
)
def test_class_activation_maps_get_a_background(tmp_path: Path, content: Any) -> None:
    scores = read_scores(save(tmp_path / "a.npy", content), (1, 2), background=0.2)
    assert scores.labels == (0, 4, 15)
    np.testing.assert_allclose(
        scores.probabilities[:, 0].T, [[0.2, 0.8, 0], [2 / 9, 1 / 9, 6 / 9]], rtol=1e-6
    )


def test_maps_in_npz_files_are_read(tmp_path: Path) -> None:
    content = {"keys": np.array([3, 14]), "high_res": CAMS}
    scores = read_scores(save(tmp_path / "a.npz", content), background_power=2)
    assert scores.labels == (0, 4, 15)
    expected = np.array([[0.04, 0.8, 0], [0.16, 0.1, 0.6]])
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores.probabilities[:, 0].T, expected, rtol=1e-5)


def test_maps_of_an_image_without_classes_are_background(tmp_path: Path) -> None:
    content = {"keys": torch.zeros(0, dtype=torch.int64), "high_res": CAMS[:0]}
    scores = read_scores(save(tmp_path / "a.npy", content), (1, 2), background=0.2)
    assert scores.labels == (0,)
    np.testing.assert_array_equal(scores.probabilities, np.ones((1, 1, 2)))


@pytest.mark.parametrize("options", [{"background": 0.2}, {"background_power": 2}])
def test_empty_dictionary_is_a_photo_of_background(tmp_path: Path, options: Any) -> None:
    path = save(tmp_path / "a.npy", {})
    scores = read_scores(path, (1, 2), **options)
    assert scores.labels == (0,)
    np.testing.assert_array_equal(scores.probabilities, np.ones((1, 1, 2)))
    with pytest.raises(ValueError, match="holds dict; save an array"):
        read_scores(path, **options)


def test_background_is_added_to_plain_foreground_scores(tmp_path: Path) -> None:
    scores = read_scores(save(tmp_path / "a.npy", CAMS), background=0.2)
    assert scores.labels == (0, 1, 2)


# --- what is refused ------------------------------------------------------------------------------


ONES = np.ones(SHAPE, np.float32)


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (draw()[0], {}, r"scores have shape \(4, 5\); save \(classes, rows, columns\)"),
        (draw()[None, None], {}, r"scores have shape \(1, 1, 3, 4, 5\)"),
        (draw()[:, :0], {}, r"scores have shape \(3, 0, 5\)"),
        (draw((3, 2, 2)), {}, "scores are 2x2 but the image is 4x5; resize the scores"),
        (draw().transpose(1, 2, 0), {}, r"the classes last; save scores.transpose\(2, 0, 1\)"),
        (np.log(draw()), {}, "not probabilities: the lowest is -.*logits=True"),
        (ONES, {}, "pixels sum to 3-3 instead of 1"),
        (ONES * np.nan, {}, "not probabilities: the lowest is nan"),
        (ONES.astype(int), {}, "scores are int64; give float16"),
        (ONES.astype(np.uint8), {"logits": True}, "logits are uint8"),
        (ONES * np.inf, {"logits": True}, "logits hold NaN or infinity"),
        ({"unary": ONES.astype(int)}, {}, "unary is int64"),
        ({"unary": 3}, {}, "'unary' is int; save it as an array"),
        ({"unary": ONES, "step": [1, 2]}, {}, "step is list; save one finite positive number"),
        ({"unary": ONES, "step": np.ones(2)}, {}, "step is ndarray; save one finite positive"),
        ({"unary": ONES, "step": None}, {}, "step is NoneType; save one"),
        ({"unary": ONES, "step": {}}, {}, "step is dict; save one"),
        ({"unary": ONES, "step": True}, {}, "step is bool; save one"),
        ({"unary": ONES, "step": 10**400}, {}, "step is 1000*; save one"),
        ({"unary": ONES, "step": np.nan}, {}, "step is nan; save one finite"),
        ({"unary": ONES, "step": np.inf}, {}, "step is inf; save one finite"),
        ({"unary": ONES, "step": 0}, {}, "step is 0; save one finite"),
        ({"unary": ONES, "step": np.float32(-1)}, {}, "step is -1.0; save one finite positive"),
        ({"keys": [1], "cam": np.array(1.0)}, {"background": 1}, "'cam' is a single value; save"),
        ({"keys": [1], "cam": [[[1.0]]]}, {"background": 1}, "'cam' is list; save it as an array"),
        ({"keys": [[1], 2], "cam": ONES}, {"background": 1}, "'keys' is list; save an array or"),
        ({"keys": {}, "cam": ONES}, {"background": 1}, "'keys' is dict; save an array or list of"),
        ({1: [[1.0]]}, {"background": 1}, "1 is list; save it as an array"),
        ({"probabilities": draw(), "names": [["x"]]}, {}, "'names' is list; save an array or list"),
        ({}, {}, "holds dict; save an array"),
        ("text", {}, "holds ndarray; save an array|scores have shape|holds str"),
        ({"a": ONES, "b": ONES}, {}, "holds 'a', 'b'; name the scores `probabilities`"),
        ({3: draw()[0]}, {}, "have no background; give background="),
        ({"keys": [1], "cam": draw()}, {"background": 1}, r"keys have shape \(1,\) for 3 maps"),
        ({"keys": [1, 2, 1], "cam": draw()}, {"background": 1}, r"keys are \[1, 2, 1\]; num"),
        ({"keys": [-1, 2, 1], "cam": draw()}, {"background": 1}, r"keys are \[-1, 2, 1\]"),
        ({"keys": [0.5, 2, 1], "cam": draw()}, {"background": 1}, r"keys are \[0.5, 2.0, 1.0\]"),
        ({1: ONES[0], 2: ONES[0, :2]}, {"background": 1}, "maps of the classes differ in size"),
        (-draw(), {"background": 1}, "must be finite and not negative"),
        (ONES * np.nan, {"background": 1}, "must be finite and not negative"),
        (2 * ONES, {"background_power": 1}, "foreground scores go up to 2, and"),
        (draw(), {"background": 1, "background_power": 1}, "both make class 0"),
        (draw(), {"background": 0}, "background is 0; it must be positive"),
        (draw(), {"background_power": -1}, "background_power is -1; it must be positive"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: Any, options: Any, says: str) -> None:
    path = save(tmp_path / "a.npy", content)
    with pytest.raises(ValueError, match=f"a.npy: .*({says})"):
        read_scores(path, (4, 5), **options)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"unary": ONES, "step": 1j}, "step is complex; save one"),
        ({"unary": ONES, "step": "1"}, "step is str; save one"),
        ({"unary": ONES.astype("U")}, "'unary' is <U32; save an array of numbers"),
        ({"1": ONES[0], "2": ONES[0].astype("M8[s]")}, "'2' is datetime64.*; save an array of"),
    ],
)
def test_npz_files_of_other_types_are_refused(tmp_path: Path, content: Any, says: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.npz: {says}"):
        read_scores(save(tmp_path / "a.npz", content), background=1)


def test_arrays_that_claim_a_huge_shape_are_not_printed(tmp_path: Path) -> None:
    keys = np.zeros((2**40, 0), int)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=r"keys have shape \(1099511627776, 0\) for 3 maps"):
            read_scores(save(tmp_path / name, {"keys": keys, "cam": draw()}), background=1)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.pkl: scores are read from \.npy and"):
        read_scores(tmp_path / "a.pkl")
    with pytest.raises(FileNotFoundError, match=r"a\.npy does not exist"):
        read_scores(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    path, generator = tmp_path / name, np.random.default_rng(0)
    content = save(path, {"a": draw()} if name == "a.npz" else draw()).read_bytes()
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"{name}: "):
        read_scores(path)
    for cut in generator.integers(0, len(content), 30):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match=f"{name}: "):
            read_scores(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_damaged_streams_are_refused(tmp_path: Path, method: int) -> None:
    path = save(tmp_path / "a.npy", draw())
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.write(path, "probabilities.npy")
    path = tmp_path / "a.npz"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        content = bytearray(whole)
        content[place : place + 3] = b"???"
        path.write_bytes(content)
        with contextlib.suppress(ValueError):  # a comment or a date may hold anything
            read_scores(path)


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}"


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize(
    ("header", "says"),
    [
        (HEADER % f"({2**70},)", r"48 bytes for an array of shape \(1180591620717411303424,\)"),
        (HEADER % f"({2**40}, 2)", r"48 bytes for an array of shape \(1099511627776, 2\)"),
        (HEADER % "(True, 3, 4)", r"48 bytes for an array of shape \(True, 3, 4\)"),
        (HEADER % "(-1,)", r"48 bytes for an array of shape \(-1,\)"),
        (HEADER[:-1] % "(1, 3, 4)", "damaged or cut short: .*EOF|Cannot parse header"),
        ("{[1]:2}", "damaged or cut short: .*unhashable"),
        ("{" * 900, ""),
    ],
)
def test_damaged_headers_are_refused(tmp_path: Path, name: str, header: str, says: str) -> None:
    path, text = tmp_path / name, header.encode()
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(48)
    says = says.replace("48 bytes", f"{len(content)} bytes")
    if name == "a.npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("probabilities.npy", content)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: .*({says})"):
        read_scores(path)


@pytest.mark.parametrize("place", ["keys", "names", "step", "unary", "cam", 3])
def test_repeated_doubling_is_refused_at_once(tmp_path: Path, place: Any) -> None:
    value: list[Any] = [1.0]
    for _ in range(60):  # written out, more than any machine holds
        value = [value, value]
    held: Any = {
        "keys": {"cam": ONES},
        "cam": {"keys": [1]},
        "names": {"probabilities": draw()},
        "step": {"unary": ONES},
    }.get(place, {})
    path = tmp_path / "a.npy"
    save(path, {**held, place: value})
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"a\.npy: .*is list; save"):
        read_scores(path, background=1 if place in ("keys", "cam", 3) else None)
    assert time.perf_counter() - start < 10


def test_hostile_file_is_refused_and_not_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'run'}",)

    with pytest.raises(ValueError, match=r"a\.npy: a pickle in it asks for (posix|nt)\.system"):
        read_scores(save(tmp_path / "a.npy", {"keys": [1], "cam": Hostile()}))
    np.savez(tmp_path / "b.npz", cam=np.array({"x": Hostile()}))
    with pytest.raises(ValueError, match=r"b\.npz: a pickle in it asks for"):
        read_scores(tmp_path / "b.npz")
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Hostile()))  # numpy.load would take it as well
    with pytest.raises(ValueError, match=r"c\.npy: "):
        read_scores(tmp_path / "c.npy")
    assert not (tmp_path / "run").exists()
