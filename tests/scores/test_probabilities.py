"""Probabilities from label maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from atrous.scores import from_labels

MAP = np.array([[0, 5, 255], [5, 9, 9]], np.uint8)


def test_a_label_gets_its_share_and_the_others_the_rest() -> None:
    scores = from_labels(MAP, gt_prob=0.6)
    assert scores.labels == (0, 5, 9)
    expected = [[0.6, 0.2, 1 / 3], [0.2, 0.2, 0.2]]
    np.testing.assert_allclose(scores.probabilities[0], expected, rtol=1e-6)
    np.testing.assert_allclose(scores.probabilities.sum(axis=0), 1, rtol=1e-6)


def test_classes_that_the_map_lacks_take_part_on_request() -> None:
    scores = from_labels(MAP, gt_prob=0.7, num_classes=10)
    assert scores.labels == tuple(range(10))
    np.testing.assert_allclose(scores.probabilities[3, 0], [0.3 / 9, 0.3 / 9, 0.1], rtol=1e-6)


def test_zero_can_be_unsure() -> None:
    scores = from_labels(MAP % 255, unsure_label=0, num_classes=10)
    assert scores.labels == tuple(range(1, 10))
    np.testing.assert_allclose(scores.probabilities[:, 0, 0], 1 / 9)


def test_every_label_can_be_a_class() -> None:
    assert from_labels(MAP, unsure_label=None).labels == (0, 5, 9, 255)


def test_one_class_is_certain() -> None:
    scores = from_labels(np.array([[4, 255]], np.uint16))
    assert scores.labels == (4,)
    assert scores.probabilities.tolist() == [[[1, 1]]]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gt_prob": 0}, "gt_prob is 0; it must be between 0 and 1"),
        ({"gt_prob": 1}, "gt_prob is 1; it must be between"),
        ({"gt_prob": 0.2}, "gt_prob is 0.2, less than an equal share of 3 classes"),
        ({"num_classes": 9}, r"labels hold \[9\], but classes are 0-8"),
        ({"num_classes": 9, "unsure_label": 0}, r"labels hold \[9, 255\], but classes"),
    ],
)
def test_wrong_values_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        from_labels(MAP, **options)


def test_map_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="every pixel has the label 255, which means unsure"):
        from_labels(np.full((2, 2), 255, np.uint8))
