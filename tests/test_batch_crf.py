"""`refine_folder` as a library call; tests/cli/test_crf.py covers the files that it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import atrous
from atrous.crf import CRFParams, DenseCRF
from atrous.errors import InputError
from atrous.image_io import read_image, read_labels, write_image, write_labels
from atrous.labels import LabelSet, voc_palette

SHAPES = {"a": (12, 16), "b": (9, 7)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make images, scores and masks named a and b; the image c has neither."""
    generator = np.random.default_rng(0)
    for name in ("images", "scores", "masks"):
        (tmp_path / name).mkdir()
    for stem, shape in SHAPES.items():
        image = generator.integers(0, 256, (*shape, 3), np.uint8)
        write_image(tmp_path / "images" / f"{stem}.png", image)
        scores = generator.random((3, *shape)).astype(np.float32)
        np.save(tmp_path / "scores" / f"{stem}.npy", scores / scores.sum(axis=0))
        labels = generator.integers(0, 3, shape, np.uint8)
        mask = tmp_path / "masks" / f"{stem}.png"
        write_labels(mask, labels, LabelSet(tuple("xyz"), voc_palette(3)))
    write_image(tmp_path / "images" / "c.png", np.zeros((4, 4, 3), np.uint8))
    return tmp_path


def test_scores_are_refined_and_the_result_says_what_was_done(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    params = CRFParams(iterations=3)
    result = atrous.refine_folder(
        folder / "images",
        folder / "out",
        probabilities=folder / "scores",
        params=params,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert set(result.refined) == {folder / "scores" / f"{stem}.npy" for stem in SHAPES}
    assert result.output == folder / "out"
    assert result.left_out == (folder / "images" / "c.png",)
    assert (result.skipped, result.failed) == ((), {})
    assert seen == [(1, 2), (2, 2)]
    expected = DenseCRF(params).refine(
        np.load(folder / "scores" / "a.npy"), read_image(folder / "images" / "a.png")
    )
    np.testing.assert_array_equal(read_labels(folder / "out" / "a.png"), expected.argmax(axis=0))


def test_existing_results_are_skipped_and_failures_have_reasons(folder: Path) -> None:
    np.save(folder / "scores" / "b.npy", np.zeros((3, 2, 2), np.float32))
    arguments = {"probabilities": folder / "scores", "workers": 1}
    first = atrous.refine_folder(folder / "images", folder / "out", **arguments)
    assert first.refined == (folder / "scores" / "a.npy",)
    assert list(first.failed) == [folder / "scores" / "b.npy"]
    assert "scores are 2x2" in first.failed[folder / "scores" / "b.npy"]
    second = atrous.refine_folder(folder / "images", folder / "out", **arguments)
    assert second.skipped == first.refined
    assert second.refined == ()
    third = atrous.refine_folder(folder / "images", folder / "out", overwrite=True, **arguments)
    assert third.refined == first.refined


def test_masks_are_refined(folder: Path) -> None:
    result = atrous.refine_folder(
        folder / "images", folder / "out", labels=folder / "masks", gt_prob=0.6, write="both"
    )
    assert len(result.refined) == 2
    assert sorted(path.suffix for path in (folder / "out").iterdir()) == [
        *(".json", ".npz", ".npz", ".png", ".png")
    ]


def test_a_bug_propagates(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("atrous.batch_crf.write_labels", fail)
    with pytest.raises(ZeroDivisionError):
        atrous.refine_folder(folder / "images", folder / "out", probabilities=folder / "scores")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "give either probabilities or labels"),
        ({"probabilities": "scores", "labels": "masks"}, "give either probabilities or labels"),
        ({"probabilities": "scores", "write": "all"}, "write is 'all'; it must be labels or"),
        ({"probabilities": "scores", "gt_prob": 0.5}, "gt_prob is an option for label masks"),
        ({"labels": "masks", "logits": True}, "logits is an option for scores"),
        ({"labels": "masks", "gt_prob": 1.0}, "gt_prob is 1.0; it must be between 0 and 1"),
        ({"probabilities": "scores", "workers": 0}, "workers is 0; it must be 1 or more"),
        ({"probabilities": "scores", "prune_below": 2}, "prune_below is 2"),
        (
            {"probabilities": "scores", "logits": True, "background": 0.3},
            "give only one of logits, background and background_power",
        ),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], says: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=says):
        atrous.refine_folder("images", "out", **options)
    assert not Path("out").exists()


def test_results_of_other_settings_are_refused(folder: Path) -> None:
    images, out, scores = (folder / name for name in ("images", "out", "scores"))
    atrous.refine_folder(images, out, probabilities=scores)
    with pytest.raises(InputError, match=r"holds results of other settings \(iterations; see"):
        atrous.refine_folder(images, out, probabilities=scores, params=CRFParams(iterations=2))
