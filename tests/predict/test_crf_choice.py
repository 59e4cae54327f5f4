"""The entry or the user decides whether the dense CRF runs, and with which parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from atrous.crf import CRFParams, DenseCRF
from atrous.models import DeepLab
from atrous.predict import Segmenter
from atrous.weights import Entry

MakePair = Callable[..., tuple[DeepLab, Entry]]
VOC = CRFParams()
SHORT = CRFParams(iterations=2)


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


@pytest.mark.parametrize(
    ("use_crf", "choice", "note"),
    [(True, False, "off (switched off)"), (False, None, "off (default of drawn)")],
)
def test_crf_stays_off(
    make_pair: MakePair, photo: np.ndarray, use_crf: bool, choice: Any, note: str
) -> None:
    segmenter = Segmenter(make_pair(crf=VOC, use_crf=use_crf), crf=choice)
    assert segmenter.crf is None
    assert segmenter.crf_note == note
    assert "crf" not in segmenter(photo).timings


@pytest.mark.parametrize(
    ("crf", "use_crf", "choice", "params"),
    [
        (VOC, True, None, VOC),
        (CRFParams(iterations=3), False, True, CRFParams(iterations=3)),
        (None, False, True, CRFParams()),
        (VOC, False, SHORT, SHORT),
    ],
)
def test_crf_refines_with_the_parameters_chosen(
    make_pair: MakePair,
    photo: np.ndarray,
    crf: CRFParams | None,
    use_crf: bool,
    choice: Any,
    params: CRFParams,
) -> None:
    pair = make_pair(crf=crf, use_crf=use_crf)
    plain = Segmenter(pair, crf=False)(photo)
    segmenter = Segmenter(pair, crf=choice)
    assert segmenter.crf_note == f"on ({params})"
    result = segmenter(photo)
    expected = DenseCRF(params).refine(plain.probabilities, photo)
    np.testing.assert_array_equal(result.probabilities, expected)
    np.testing.assert_array_equal(result.labels, expected.argmax(0))
    assert list(result.timings)[3:5] == ["upsample", "crf"]
    assert not np.array_equal(result.probabilities, plain.probabilities)


def test_options_switch_the_crf(make_pair: MakePair) -> None:
    segmenter = Segmenter(make_pair(crf=VOC, use_crf=True))
    assert segmenter.crf is not None
    off = segmenter.with_options(crf=False)
    assert off.crf is None
    assert off.with_options(flip=True).crf is None
    assert off.with_options(crf=None).crf is not None


def test_other_values_of_crf_are_refused(make_pair: MakePair) -> None:
    with pytest.raises(ValueError, match="crf is 'yes'; it must be None, True, False or"):
        Segmenter(make_pair(crf=VOC), crf="yes")
