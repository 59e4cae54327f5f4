"""Bootstrap intervals of a gain in mean IoU, against loops and against known cases."""

from __future__ import annotations

import numpy as np
import pytest

from atrous.metrics import bootstrap_gain, confusion_matrix, iou_counts, miou, per_class_iou


def counts_of(rng: np.random.Generator, images: int, right: float) -> np.ndarray:
    """Counts of images of four classes, of which a share of the pixels is right."""
    counts = []
    for _ in range(images):
        truth = rng.integers(0, 4, 300)
        predicted = np.where(rng.random(300) < right, truth, rng.integers(0, 4, 300))
        counts.append(iou_counts(confusion_matrix(truth, predicted, num_classes=4)))
    return np.stack(counts)


def test_counts_of_images_add_up_to_iou() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, (2, 5, 40))
    whole = confusion_matrix(truth, predicted, num_classes=3)
    parts = [confusion_matrix(*pair, num_classes=3) for pair in zip(truth, predicted, strict=True)]
    hits, unions = sum(iou_counts(part) for part in parts)
    np.testing.assert_allclose(hits / unions, per_class_iou(whole))


def test_scores_are_those_of_all_images_together() -> None:
    rng = np.random.default_rng(1)
    truth, one, other = rng.integers(0, 3, (3, 6, 50))
    matrices = [
        [confusion_matrix(t, p, num_classes=3) for t, p in zip(truth, predicted, strict=True)]
        for predicted in (one, other)
    ]
    before, after = (np.stack([iou_counts(m) for m in images]) for images in matrices)
    gain = bootstrap_gain(before, after, resamples=10)
    assert gain.before == pytest.approx(miou(sum(matrices[0])))
    assert gain.after == pytest.approx(miou(sum(matrices[1])))
    assert gain.gain == gain.after - gain.before
    assert gain.resamples == 10


def test_the_interval_is_that_of_a_loop_over_resamples() -> None:
    rng = np.random.default_rng(2)
    before, after = counts_of(rng, 9, 0.5), counts_of(rng, 9, 0.6)
    gain = bootstrap_gain(before, after, resamples=4000, seed=3)
    gains = []
    for _ in range(4000):
        drawn = rng.integers(0, 9, 9)
        scores = [
            (counts[drawn, 0].sum(0) / counts[drawn, 1].sum(0)).mean() for counts in (before, after)
        ]
        gains.append(scores[1] - scores[0])
    # Other draws: the ends agree within what 4000 of them leave open.
    spread = np.std(gains)
    assert gain.low == pytest.approx(np.quantile(gains, 0.025), abs=0.15 * spread)
    assert gain.high == pytest.approx(np.quantile(gains, 0.975), abs=0.15 * spread)


def test_intervals_hold_the_true_gain_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    many = [counts_of(rng, 3000, right) for right in (0.5, 0.55)]
    truth = bootstrap_gain(*many, resamples=1).gain
    held = 0
    for trial in range(100):
        drawn = rng.integers(0, 3000, 40)
        gain = bootstrap_gain(many[0][drawn], many[1][drawn], resamples=200, seed=trial)
        held += gain.low <= truth <= gain.high
    assert 85 <= held <= 100


def test_no_change_is_surely_no_gain() -> None:
    counts = counts_of(np.random.default_rng(5), 7, 0.7)
    gain = bootstrap_gain(counts, counts)
    assert (gain.gain, gain.low, gain.high) == (0, 0, 0)


def test_the_seed_decides_the_draws_and_a_class_that_is_nowhere_is_left_out() -> None:
    rng = np.random.default_rng(6)
    before, after = counts_of(rng, 12, 0.5), counts_of(rng, 12, 0.5)
    wider = [np.pad(counts, ((0, 0), (0, 0), (0, 1))) for counts in (before, after)]
    gains = [bootstrap_gain(before, after, seed=7), bootstrap_gain(before, after, seed=7)]
    assert gains[0] == gains[1] == bootstrap_gain(*wider, seed=7)
    assert gains[0] != bootstrap_gain(before, after, seed=8)


def test_counts_of_other_images_are_refused() -> None:
    counts = counts_of(np.random.default_rng(7), 4, 0.5)
    with pytest.raises(ValueError, match=r"\(4, 2, 4\) before and \(3, 2, 4\) after"):
        bootstrap_gain(counts, counts[:3])
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_gain(counts[:0], counts[:0])
    with pytest.raises(ValueError, match="resamples is 0; it must be 1 or more"):
        bootstrap_gain(counts, counts, resamples=0)
