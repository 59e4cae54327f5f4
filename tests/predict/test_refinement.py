"""The dense CRF's place in the river: off and said to be off, or wired as the entry says.

The CRF here is a stand-in: these tests are about who calls it with what, not what it computes.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from atrous.models import DeepLab
from atrous.predict import Segmenter
from atrous.predict.refinement import MODULE, has_crf
from atrous.weights import Entry

MakePair = Callable[..., tuple[DeepLab, Entry]]
VOC = {
    "iterations": 10, "spatial_weight": 3, "spatial_xy_std": 1, "bilateral_weight": 4,
    "bilateral_xy_std": 67, "bilateral_rgb_std": 3,
}  # fmt: skip


@dataclass(frozen=True)
class CRFParams:
    iterations: float
    spatial_weight: float
    spatial_xy_std: float
    bilateral_weight: float
    bilateral_xy_std: float
    bilateral_rgb_std: float


class DenseCRF:
    """Turns the classes round, which no network does by itself."""

    calls: list[tuple[CRFParams, np.ndarray, np.ndarray]]

    def __init__(self, params: CRFParams) -> None:
        self.params = params

    def refine(self, probabilities: np.ndarray, image: np.ndarray) -> np.ndarray:
        DenseCRF.calls.append((self.params, probabilities, image))
        return probabilities[::-1].copy()


@pytest.fixture
def with_crf(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType(MODULE)
    module.__spec__ = ModuleSpec(MODULE, None)
    module.CRFParams, module.DenseCRF, DenseCRF.calls = CRFParams, DenseCRF, []
    monkeypatch.setitem(sys.modules, MODULE, module)
    assert has_crf()


@pytest.fixture
def without_crf(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == MODULE else find_spec(name)
    )


@pytest.mark.usefixtures("without_crf")
@pytest.mark.parametrize("use_crf", [False, True])
def test_without_a_crf_it_is_off_and_says_so(
    make_pair: MakePair, photo: np.ndarray, use_crf: bool
) -> None:
    segmenter = Segmenter(make_pair(crf=VOC, use_crf=use_crf))
    assert segmenter.crf is None
    assert segmenter.crf_note == "off (this version of atrous has no dense CRF)"
    assert "crf" not in segmenter(photo).timings


@pytest.mark.usefixtures("without_crf")
@pytest.mark.parametrize("choice", [True, CRFParams(**VOC)])
def test_asking_for_a_crf_that_is_not_there_is_refused(make_pair: MakePair, choice: Any) -> None:
    with pytest.raises(ValueError, match="has no dense CRF; leave crf=None or False"):
        Segmenter(make_pair(crf=VOC), crf=choice)


@pytest.mark.usefixtures("with_crf")
@pytest.mark.parametrize(
    ("use_crf", "choice", "note"),
    [
        (False, None, r"off (as the entry of drawn says)"),
        (False, False, "off (switched off)"),
        (True, False, "off (switched off)"),
    ],
)
def test_crf_stays_off(
    make_pair: MakePair, photo: np.ndarray, use_crf: bool, choice: Any, note: str
) -> None:
    segmenter = Segmenter(make_pair(crf=VOC, use_crf=use_crf), crf=choice)
    assert segmenter.crf is None
    assert segmenter.crf_note == note
    segmenter(photo)
    assert not DenseCRF.calls


@pytest.mark.usefixtures("with_crf")
@pytest.mark.parametrize(
    ("use_crf", "choice", "iterations"),
    [(True, None, 10), (False, True, 10), (False, CRFParams(**(VOC | {"iterations": 2})), 2)],
)
def test_crf_refines_with_the_parameters_chosen(
    make_pair: MakePair, photo: np.ndarray, use_crf: bool, choice: Any, iterations: int
) -> None:
    pair = make_pair(crf=VOC, use_crf=use_crf)
    plain = Segmenter(pair, crf=False)(photo)
    segmenter = Segmenter(pair, crf=choice)
    result = segmenter(photo)
    [(params, probabilities, image)] = DenseCRF.calls
    assert params == CRFParams(**(VOC | {"iterations": iterations}))
    assert segmenter.crf_note.startswith("on (CRFParams(")
    np.testing.assert_array_equal(probabilities, plain.probabilities)
    np.testing.assert_array_equal(image, photo)
    np.testing.assert_array_equal(result.probabilities, plain.probabilities[::-1])
    np.testing.assert_array_equal(result.labels, plain.probabilities[::-1].argmax(0))
    assert list(result.timings)[3:5] == ["upsample", "crf"]


@pytest.mark.usefixtures("with_crf")
def test_options_switch_the_crf(make_pair: MakePair) -> None:
    segmenter = Segmenter(make_pair(crf=VOC, use_crf=True))
    assert segmenter.crf is not None
    off = segmenter.with_options(crf=False)
    assert off.crf is None
    assert off.with_options(flip=True).crf is None
    assert off.with_options(crf=None).crf is not None


@pytest.mark.usefixtures("with_crf")
def test_entry_without_parameters_cannot_switch_the_crf_on(make_pair: MakePair) -> None:
    with pytest.raises(ValueError, match="entry of drawn has no CRF parameters; pass a CRFParams"):
        Segmenter(make_pair(), crf=True)


@pytest.mark.usefixtures("with_crf")
def test_other_values_of_crf_are_refused(make_pair: MakePair) -> None:
    with pytest.raises(ValueError, match="crf is 'yes'; it must be None, True, False or"):
        Segmenter(make_pair(crf=VOC), crf="yes")
