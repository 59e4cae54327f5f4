"""Confusion counts and the scores made of them, against slow loops and torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from atrous.metrics import (
    class_accuracy,
    confusion_matrix,
    frequency_weighted_iou,
    miou,
    per_class_iou,
    pixel_accuracy,
)


def random_labels(seed, *, classes=5, void=0.1, shape=(23, 31)):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, shape).astype(np.uint8)
    predicted = np.where(rng.random(shape) < 0.6, truth, rng.integers(0, classes, shape))
    truth[rng.random(shape) < void] = 255
    return truth, predicted.astype(np.uint8)


def slow_iou(truth, predicted, label):
    both = either = 0
    for t, p in zip(truth.ravel(), predicted.ravel(), strict=True):
        if t != 255:
            both += t == label and p == label
            either += t == label or p == label
    return both / either if either else float("nan")


def test_iou_equals_a_loop_over_pixels():
    truth, predicted = random_labels(0)
    iou = per_class_iou(confusion_matrix(truth, predicted, num_classes=5))
    np.testing.assert_allclose(iou, [slow_iou(truth, predicted, k) for k in range(5)])


def test_scores_equal_torchmetrics():
    truth, predicted = random_labels(1)
    confusion = confusion_matrix(truth, predicted, num_classes=5)
    tensors = torch.from_numpy(predicted).long(), torch.from_numpy(truth).long()
    known = {"num_classes": 5, "ignore_index": 255}
    assert miou(confusion) == pytest.approx(MulticlassJaccardIndex(**known)(*tensors).item())
    micro, macro = (
        MulticlassAccuracy(**known, average=average)(*tensors).item()
        for average in ("micro", "macro")
    )
    assert pixel_accuracy(confusion) == pytest.approx(micro)
    assert class_accuracy(confusion) == pytest.approx(macro)


def test_a_class_in_neither_map_is_left_out_of_the_mean():
    truth = np.array([[0, 0, 1, 1]])
    confusion = confusion_matrix(truth, truth, num_classes=3)
    assert np.isnan(per_class_iou(confusion)[2])
    assert miou(confusion) == 1.0


def test_a_class_that_is_only_predicted_counts_as_zero():
    confusion = confusion_matrix(np.array([0, 0]), np.array([0, 2]), num_classes=3)
    np.testing.assert_allclose(per_class_iou(confusion), [0.5, np.nan, 0.0])
    assert miou(confusion) == 0.25


def test_predictions_on_unknown_pixels_do_not_count():
    confusion = confusion_matrix(np.array([255, 1]), np.array([0, 1]), num_classes=2)
    assert confusion.tolist() == [[0, 0], [0, 1]]


def test_counts_add_up_over_parts():
    truth, predicted = random_labels(2)
    parts = [confusion_matrix(truth[r], predicted[r], num_classes=5) for r in range(len(truth))]
    np.testing.assert_array_equal(sum(parts), confusion_matrix(truth, predicted, num_classes=5))


def test_scores_of_nothing_are_nan():
    confusion = np.zeros((3, 3), np.int64)
    assert all(np.isnan(score(confusion)) for score in (miou, pixel_accuracy, class_accuracy))


def test_confusion_matrix_refuses_maps_of_different_size():
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        confusion_matrix(np.zeros(2, int), np.zeros(3, int), num_classes=2)


@pytest.mark.parametrize(("truth", "predicted", "which"), [(7, 0, "true"), (0, 7, "predicted")])
def test_confusion_matrix_refuses_labels_that_are_no_class(truth, predicted, which):
    with pytest.raises(ValueError, match=f"{which} labels run from 7 to 7.*3 classes"):
        confusion_matrix(np.array([truth]), np.array([predicted]), num_classes=3)


def test_frequency_weighted_iou_weighs_by_the_truth():
    truth, predicted = random_labels(7)
    confusion = confusion_matrix(truth, predicted, num_classes=5)
    known = truth[truth != 255]
    expected = sum(
        (known == label).mean() * slow_iou(truth, predicted, label) for label in range(5)
    )
    assert frequency_weighted_iou(confusion) == pytest.approx(expected)
