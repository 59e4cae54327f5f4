"""Variants of one segmenter share the runs of the network that they have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from atrous.predict import Segmenter

from .conftest import Pair

OPTIONS = {
    "single": {"crf": False},
    "crf": {"crf": True},
    "flip+crf": {"crf": True, "flip": True},
    "msc": {"crf": False, "scales": (1, 0.75, 0.5)},
    "msc+flip": {"crf": False, "scales": (1, 0.75, 0.5), "flip": True},
}


@pytest.fixture
def variants(pair: Pair) -> dict[str, Segmenter]:
    segmenter = Segmenter(pair)
    return {name: segmenter.with_options(**options) for name, options in OPTIONS.items()}


def test_each_variant_equals_its_own_segmenter(
    variants: dict[str, Segmenter], photo: np.ndarray
) -> None:
    results = variants["single"].segment_variants(photo, variants)
    assert list(results) == list(OPTIONS)
    for name, variant in variants.items():
        alone = variant(photo)
        np.testing.assert_array_equal(results[name].labels, alone.labels)
        np.testing.assert_array_equal(results[name].probabilities, alone.probabilities)
    different = {result.labels.tobytes() for result in results.values()}
    assert len(different) == len(OPTIONS)


def test_the_network_runs_once_for_each_scale_set_and_mirror_image(
    pair: Pair, variants: dict[str, Segmenter], photo: np.ndarray
) -> None:
    runs = []
    handle = pair[0].backbone.register_forward_hook(lambda *_: runs.append(1))
    try:
        variants["single"].segment_variants(photo, variants)
    finally:
        handle.remove()
    assert len(runs) == 1 + 1 + 3 + 3


def test_variants_of_another_network_are_refused(
    make_pair: Callable[..., Pair], pair: Pair, photo: np.ndarray
) -> None:
    variants = {"a": Segmenter(pair), "b": Segmenter(make_pair())}
    with pytest.raises(ValueError, match="the variant 'b' has another network; make it with"):
        variants["a"].segment_variants(photo, variants)
