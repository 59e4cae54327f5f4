"""Random calls either work, without NaN, or raise ValueError, TypeError or MemoryError.

The long run of 20,000 calls is `pytest -m slow crf/tests/test_fuzz.py`; it writes
docs/proofs/crf_fuzz.md. Under the address and undefined-behaviour sanitizers: build the kernel with
CMake's -DATROUS_SANITIZE=ON and preload the sanitizers' libraries (see the proof).
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from atrous_crf import CRFParams, DenseCRF
from atrous_crf.kernel import release_memory
from atrous_crf.pydensecrf import densecrf as dcrf
from atrous_crf.pydensecrf import utils

COMMAND = "pytest -m slow crf/tests/test_fuzz.py"
PROOF = Path(__file__).parents[2] / "docs/proofs/crf_fuzz.md"
STATUS = Path("/proc/self/status")
LONG_RUN = 20_000  # calls at least
ALLOWED = (ValueError, TypeError, MemoryError)

# Ordinary values, so that many calls reach the kernel, and odd ones, so that many are refused.
WIDTHS = st.one_of(
    *[st.floats(0.3, 90)] * 3,
    st.tuples(st.floats(0.3, 90), st.floats(0.3, 90)),
    st.sampled_from([0, -1, 1e-8, 1e-40, 1e-30, 1e30, np.nan, np.inf, None, "3", (), (3,), [2, 5]]),
)
ODD_DTYPES = (np.float64, np.float16, np.int64, np.uint8, bool, object)
ORDERS = ("C", "F", "strided", "read-only", "reversed")
ODD_VALUES = (np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-45)


def lay_out(array: np.ndarray, order: str) -> np.ndarray:
    if order == "strided" and array.ndim:
        return array.repeat(2, axis=-1)[..., ::2]
    if order == "reversed" and array.ndim:
        return array[::-1][::-1]
    array = np.array(array, order="F" if order == "F" else "C")
    array.flags.writeable = order != "read-only"
    return array


def dice(draw: st.DrawFn) -> np.random.Generator:
    """Draw uniformly: hypothesis prefers the ends of a range, but odd values must be rare."""
    return np.random.default_rng(draw(st.integers(0, 2**64 - 1)))


@st.composite
def arrays(draw: st.DrawFn, *shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Draw an array of this shape; rarely another shape, an odd dtype or an odd value."""
    rng = dice(draw)
    if rng.random() < 0.05:
        shape = tuple(rng.integers(0, 6, rng.integers(0, 5)))
    values = np.asarray(low + (high - low) * rng.random(shape))
    if rng.random() < 0.1 and values.size:
        values.flat[rng.integers(values.size)] = rng.choice(ODD_VALUES)
    dtype = ODD_DTYPES[rng.integers(len(ODD_DTYPES))] if rng.random() < 0.1 else np.float32
    with np.errstate(all="ignore"):
        return lay_out(values.astype(dtype), rng.choice(ORDERS))


def compats(labels: int) -> st.SearchStrategy[Any]:
    return st.one_of(
        *[st.floats(-5, 5)] * 3,
        st.floats(-2e4, 2e4),
        st.sampled_from([0, 1e20, -1e20, 1e30, np.nan, None, "x", [1.0], np.float16(2)]),
        arrays(labels, low=-5, high=5),
        arrays(labels, labels, low=-5, high=5),
        arrays(labels, labels, low=-2e4, high=2e4),
        arrays(labels + 1),
    )


@st.composite
def extents(draw: st.DrawFn, *small: int) -> tuple[int, int]:
    """Draw height and width: small, or rarely so large that there are several tiles and tasks."""
    sizes = st.sampled_from(small if draw(st.integers(0, 29)) else (66, 70, 131))
    return draw(sizes), draw(sizes)


@st.composite
def drop_in_calls(draw: st.DrawFn) -> list[tuple[str, tuple[Any, ...]]]:
    """A session with one DenseCRF2D or DenseCRF: its constructor, then some methods."""
    width, height = draw(extents(1, 1, 2, 3, 4, 5, 7))
    labels = draw(st.sampled_from([1, 2, 3, 8, 9, 21]))
    if not draw(st.integers(0, 19)):
        strange = st.sampled_from([0, -1, 2.5, 2**40, "4", None, 3])
        return [("DenseCRF2D", (draw(strange), draw(strange), draw(strange)))]
    points, channels = width * height, draw(st.sampled_from([3, 3, 3, 1, 2, 4, 7]))
    options = st.tuples(
        st.sampled_from([0, 1, 2] * 5 + [9]), st.sampled_from([0, 1, 2, 3] * 5 + [4, -1])
    )
    energy = st.one_of(
        arrays(labels, points, low=-1, high=9), arrays(labels, height, width, low=-1, high=9)
    )
    calls = {
        "setUnaryEnergy": st.tuples(energy),
        "setUnary": st.one_of(st.tuples(energy), st.tuples(arrays(labels, 2), arrays(2, points))),
        "addPairwiseGaussian": st.tuples(WIDTHS, compats(labels), options),
        "addPairwiseBilateral": st.tuples(
            WIDTHS, WIDTHS, arrays(height, width, channels, high=255), compats(labels), options
        ),
        "addPairwiseEnergy": st.tuples(
            arrays(channels, points, low=-9, high=9), compats(labels), options
        ),
        "inference": st.tuples(st.sampled_from([0, 1, 2, 5, -1, 2.0, 0.5, "2"])),
        "steps": st.tuples(st.one_of(st.none(), arrays(labels, points))),
    }
    if draw(st.booleans()):
        session = [("DenseCRF2D", (width, height, labels))]
    else:
        session = [("DenseCRF", (points, labels))]
        del calls["addPairwiseGaussian"], calls["addPairwiseBilateral"]
    for _ in range(draw(st.integers(1, 6))):
        name = draw(st.sampled_from(sorted(calls)))
        session.append((name, draw(calls[name])))
    return session


def assert_probabilities(q: Any) -> None:
    q = np.asarray(q)
    assert np.isfinite(q).all()
    np.testing.assert_allclose(q.sum(0), 1, atol=1e-3)


def refuse(error: Exception, count: Counter[str]) -> None:
    assert str(error), "an error without a text"
    count["refused"] += 1


def run_drop_in(session: list[tuple[str, tuple[Any, ...]]], count: Counter[str]) -> None:
    crf: Any = None
    for name, arguments in [*session, ("inference", (1,))]:
        try:
            if name in ("DenseCRF", "DenseCRF2D"):
                crf = getattr(dcrf, name)(*arguments)
            elif name == "setUnary":
                kind = dcrf.ConstUnary if len(arguments) == 1 else dcrf.LogisticUnary
                crf.setUnary(kind(*arguments))
            elif name == "steps":
                q, tmp1, tmp2 = crf.startInference()
                crf.stepInference(q, tmp1, tmp2)
                assert_probabilities(q)
                crf.stepInference(arguments[0] if arguments[0] is not None else q, tmp1, tmp2)
                assert isinstance(crf.klDivergence(q), float)
            elif name == "inference":
                assert_probabilities(crf.inference(*arguments))
            else:
                getattr(crf, name)(*arguments[:-1], *arguments[-1])
            count["worked"] += 1
        except ALLOWED as error:
            refuse(error, count)
            if crf is None:
                return


ODD_NUMBERS = (0, -1, 1e-8, 1e-40, 1e30, np.nan, np.inf, None)
ODD_OPTIONS = (
    {"accuracy": "x"}, {"prune_below": -1}, {"prune_below": np.nan}, {"threads": 0},
    {"threads": "2"},
)  # fmt: skip


@st.composite
def refinements(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], Any, Any]:
    height, width = draw(extents(1, 2, 3, 5, 8))
    classes = draw(st.sampled_from([1, 2, 3, 8, 9, 30, 36]))
    rng = dice(draw)
    names = ["spatial_weight", "spatial_xy_std", "bilateral_weight", "bilateral_rgb_std"]
    params: dict[str, Any] = {name: draw(st.floats(0.5, 90)) for name in names}
    params["iterations"] = draw(st.integers(0, 5))
    if rng.random() < 0.2:
        params[rng.choice([*names, "iterations"])] = ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))]
    options = {
        "accuracy": draw(st.sampled_from(["lattice", "high"])),
        "prune_below": draw(st.sampled_from([0.0, 1e-3, 0.1, 0.5, 1.0])),
        "threads": draw(st.sampled_from([None, 1, 2, 3])),
    }
    if rng.random() < 0.1:
        options |= ODD_OPTIONS[rng.integers(len(ODD_OPTIONS))]
    channels = 3 if rng.random() < 0.95 else 4
    image = draw(arrays(height, width, channels, high=255))
    if rng.random() < 0.95:
        image = np.nan_to_num(image.astype(np.float64)).clip(0, 255).astype(np.uint8)
    return params, options, draw(arrays(classes, height, width)), image


def run_refine(refinement: tuple[Any, ...], count: Counter[str]) -> None:
    params, options, probabilities, image = refinement
    try:
        refined = DenseCRF(CRFParams(**params), **options).refine(probabilities, image)
    except ALLOWED as error:
        refuse(error, count)
        return
    count["worked"] += 1
    assert refined.shape == probabilities.shape
    assert_probabilities(refined)


@st.composite
def utils_calls(draw: st.DrawFn) -> tuple[str, tuple[Any, ...]]:
    any_array = arrays(*draw(st.lists(st.integers(1, 5), max_size=4)), high=4)
    number = st.sampled_from([0.5, 1, 0, -1, 2, np.nan, None, 1e-5])
    several = st.one_of(WIDTHS, st.lists(st.floats(0.1, 9), max_size=5))
    return draw(
        st.sampled_from(
            [
                ("unary_from_labels", (any_array, st.integers(-1, 6), number, st.booleans())),
                ("unary_from_softmax", (any_array, number, number)),
                ("create_pairwise_gaussian", (several, st.lists(st.integers(0, 5), max_size=4))),
                ("create_pairwise_bilateral", (several, several, any_array, st.integers(-4, 4))),
            ]
        ).flatmap(lambda call: st.tuples(st.just(call[0]), st.tuples(*call[1])))
    )


def run_utils(call: tuple[str, tuple[Any, ...]], count: Counter[str]) -> None:
    name, arguments = call
    try:
        with np.errstate(all="ignore"):
            result = getattr(utils, name)(*arguments)
    except ALLOWED as error:
        refuse(error, count)
        return
    count["worked"] += 1
    assert result.dtype == np.float32
    assert result.ndim == 2


def run_often(strategy: st.SearchStrategy[Any], run: Any, examples: int) -> Counter[str]:
    count: Counter[str] = Counter()

    @seed(20)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def one_run(value: Any) -> None:
        run(value, count)

    one_run()
    return count


def fuzz(examples: int) -> Counter[str]:
    """Run `examples` sessions of the drop-in, as many refinements, half as many calls of utils."""
    return (
        run_often(drop_in_calls(), run_drop_in, examples)
        + run_often(refinements(), run_refine, examples)
        + run_often(utils_calls(), run_utils, examples // 2)
    )


def test_random_calls_work_or_are_refused() -> None:
    count = fuzz(60)
    assert count["worked"] > 100
    assert count["refused"] > 50


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs /proc and malloc_trim")
def test_calls_leak_no_memory() -> None:
    rng = np.random.default_rng(0)
    image = np.indices((90, 120), np.uint8).sum(0, dtype=np.uint8)[..., None].repeat(3, axis=2)
    scores = rng.dirichlet(np.ones(6), size=(90, 120)).transpose(2, 0, 1).astype(np.float32)
    scores[4:] *= 1e-4
    bad = scores.copy()
    bad[0, 0, 0] = np.nan

    def call_everything() -> None:
        DenseCRF(CRFParams(2)).refine(scores, image)
        DenseCRF(CRFParams(2), accuracy="high", prune_below=1e-3).refine(scores, image)
        with pytest.raises(ValueError, match="NaN"):
            DenseCRF().refine(bad, image)
        crf = dcrf.DenseCRF2D(120, 90, 6)
        crf.setUnaryEnergy(utils.unary_from_softmax(scores))
        crf.addPairwiseBilateral(40, 20, image, np.eye(6, dtype=np.float32))
        crf.inference(2)

    def megabytes_after(calls: int) -> float:
        for _ in range(calls):
            call_everything()
        gc.collect()
        release_memory()
        ctypes.CDLL(None).malloc_trim(0)  # free memory that is not yet returned is no leak
        line = next(x for x in STATUS.read_text().splitlines() if x.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    # A leak grows in every window; fragmentation of the heap grows in the first ones only.
    marks = [megabytes_after(10), *(megabytes_after(60) for _ in range(4))]
    assert min(np.diff(marks)) < 8, marks  # leaking one row of marginals per call: 15 MB


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_random_calls_work_or_are_refused(project: Path) -> None:
    start = time.monotonic()
    count = fuzz(LONG_RUN // 6)
    seconds = time.monotonic() - start
    assert count.total() >= LONG_RUN
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    sanitizers = "yes" if "ASAN_OPTIONS" in os.environ else "no"
    PROOF.parent.mkdir(parents=True, exist_ok=True)
    lines = PROOF.read_text("utf-8").splitlines()
    row = (
        f"| {commit or 'unknown'} | {platform.machine()} | {sanitizers} | {count.total():,} | "
        f"{count['worked']:,} | {count['refused']:,} | {seconds:.0f} | no crash, no NaN |"
    )
    same_kind = f"| {platform.machine()} | {sanitizers} |"
    kept = [line for line in lines if same_kind not in line]
    PROOF.write_text("\n".join([*kept, row]) + "\n", encoding="utf-8")


def test_the_proof_is_there() -> None:
    text = PROOF.read_text(encoding="utf-8")
    assert COMMAND in text
    rows = [line.split("|") for line in text.splitlines() if "no crash, no NaN" in line]
    assert rows
    assert all(int(row[4].replace(",", "")) >= LONG_RUN for row in rows)
