"""Bands around boundaries and boundary IoU, against versions that go pixel by pixel."""

import numpy as np
import pytest

from atrous.metrics import (
    TRIMAP_BANDS_PX,
    boundary_counts,
    confusion_matrix,
    distance_to_boundary,
    trimap_confusions,
)


@pytest.fixture(scope="module")
def oracle(load_oracle):
    return load_oracle("boundaries")


def blobs(seed, shape=(29, 41), classes=3):
    """Truth with void, and a prediction of it that is somewhat shifted."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (6, 8))
    truth = np.kron(coarse, np.ones((5, 6), int))[: shape[0], : shape[1]].astype(np.uint8)
    predicted = np.roll(truth, (1, -2), (0, 1))
    predicted[rng.random(shape) < 0.02] = 0
    truth[10:13, 5:20] = 255
    return truth, predicted


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("farthest", [3, 40])
def test_distances_are_those_to_the_nearest_boundary_pixel(oracle, seed, farthest):
    truth, _ = blobs(seed)
    expected = oracle.distances(truth)
    expected[expected > farthest] = np.inf
    np.testing.assert_allclose(
        distance_to_boundary(truth, farthest_px=farthest), expected, rtol=1e-6
    )


def test_one_label_has_no_boundary():
    assert np.isinf(distance_to_boundary(np.zeros((5, 7), np.uint8), farthest_px=4)).all()
    assert np.isinf(distance_to_boundary(np.zeros((1, 1), np.uint8), farthest_px=4)).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bands_hold_what_lies_nearer_than_their_width(oracle, seed):
    truth, predicted = blobs(seed)
    distances = oracle.distances(truth)
    found = trimap_confusions(truth, predicted, num_classes=3)
    for band, confusion in zip(TRIMAP_BANDS_PX, found, strict=True):
        near = distances < band
        expected = confusion_matrix(truth[near], predicted[near], num_classes=3)
        np.testing.assert_array_equal(confusion, expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shape", [(29, 41), (90, 60), (1, 5)])
def test_boundaries_of_masks_are_counted_as_the_slow_way_does(oracle, seed, shape):
    if shape == (90, 60):
        rng = np.random.default_rng(seed)
        truth = np.kron(rng.integers(0, 3, (3, 2)), np.ones((30, 30), int)).astype(np.uint8)
        predicted = np.roll(truth, seed + 1, 1)
    else:
        truth, predicted = (labels[: shape[0], : shape[1]] for labels in blobs(seed))
    depth = max(1, round(0.02 * float(np.hypot(*shape))))
    found = boundary_counts(truth, predicted, num_classes=3)
    for label in range(3):
        expected = oracle.boundary_iou(truth, predicted, label, depth, 255)
        assert tuple(found[:, label]) == expected


def test_a_perfect_prediction_has_boundary_iou_one():
    truth, _ = blobs(3)
    hits, unions = boundary_counts(truth, truth, num_classes=3)
    assert (hits == unions).all()
    assert hits.all()
