"""The search: what it finds, that it resumes, and what it says of the gain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atrous.crf import DenseCRF
from atrous.image_io import read_image, write_probabilities
from atrous.metrics import confusion_matrix, miou, trimap_confusions
from atrous.predict import Segmenter
from atrous.scores import read_scores
from atrous.tune_crf import Grid, Tuning, tune

from .conftest import Case

SMALL = Grid(weights=(1, 3), xy_stds=(5, 9), rgb_stds=(3, 6), refinements=1)


def run(segmenter: Segmenter, case: Case, work: Path, **options: Any) -> Tuning:
    given: dict[str, Any] = {"probabilities": case.scores, "grid": SMALL, "workers": 1}
    return tune(segmenter, case.dataset, work, **(given | options))


def slow_miou(case: Case, names: tuple[str, ...], crf: DenseCRF | None, band_px: int = 0) -> float:
    """Mean IoU of some images, one after the other."""
    total = 0
    for sample in case.dataset:
        if sample.name not in names:
            continue
        scores = read_scores(case.scores / f"{sample.name}.npz").probabilities
        refined = scores if crf is None else crf.refine(scores, sample.image)
        predicted = refined.argmax(0)
        if band_px:
            total += trimap_confusions(
                sample.labels, predicted, num_classes=3, bands_px=(band_px,)
            )[0]
        else:
            total += confusion_matrix(sample.labels, predicted, num_classes=3)
    return miou(total)


def test_the_best_of_the_grid_is_found_and_measured(
    segmenter: Segmenter, noisy: Case, tmp_path: Path
) -> None:
    tuning = run(segmenter, noisy, tmp_path / "work", search_images=3)
    assert len(tuning.searched) == 3
    assert len(tuning.reported) == 5
    assert not set(tuning.searched) & set(tuning.reported)
    coarse = {
        point: slow_miou(noisy, tuning.searched, DenseCRF(SMALL.params(point)))
        for point in SMALL.coarse()
    }
    assert tuning.search_miou[1] >= max(coarse.values())
    crf = DenseCRF(tuning.params)
    assert tuning.search_miou[0] == pytest.approx(slow_miou(noisy, tuning.searched, None))
    assert tuning.search_miou[1] == pytest.approx(slow_miou(noisy, tuning.searched, crf))
    for gain, band in ((tuning.miou, 0), (tuning.trimap, 3)):
        assert gain.before == pytest.approx(slow_miou(noisy, tuning.reported, None, band))
        assert gain.after == pytest.approx(slow_miou(noisy, tuning.reported, crf, band))
    assert json.loads((tmp_path / "work/report.json").read_text())["miou"]["resamples"] == 1000


def test_where_the_crf_helps_it_is_on_by_default(
    segmenter: Segmenter, noisy: Case, tmp_path: Path
) -> None:
    tuning = run(segmenter, noisy, tmp_path / "work")
    assert tuning.helps
    assert tuning.miou.low > 0.05
    assert tuning.verdict().startswith("The CRF is on by default: on 4 images")
    entry = tuning.update(segmenter.entry)
    assert entry.use_crf
    assert entry.crf is not None
    assert entry.crf.bilateral_weight == tuning.params.bilateral_weight
    assert entry.metrics["some/val"] == {"miou": 0.5}
    scores = entry.metrics["folder/val, 4 images apart from the CRF's search"]
    assert scores["miou with CRF"] == pytest.approx(tuning.miou.after, abs=1e-5)
    assert "folder/val flip, 4 images apart from the CRF's search" in (
        tuning.update(segmenter.entry, " flip").metrics
    )


def test_where_the_crf_does_not_help_it_stays_off(
    segmenter: Segmenter, thin: Case, tmp_path: Path
) -> None:
    tuning = run(segmenter, thin, tmp_path / "work", resamples=200)
    assert not tuning.helps
    assert tuning.miou.after < tuning.miou.before
    assert tuning.verdict().startswith("The CRF stays off by default: on 4 images")
    entry = tuning.update(segmenter.entry)
    assert not entry.use_crf
    assert entry.crf is not None, "whoever asks for the CRF gets the best parameters found"


def test_of_equal_scores_the_weakest_and_narrowest_kernel_wins(
    segmenter: Segmenter, noisy: Case, tmp_path: Path
) -> None:
    for sample in noisy.dataset:  # so certain that no kernel changes a label
        scores = np.eye(3, dtype=np.float32)[sample.labels].transpose(2, 0, 1)
        write_probabilities(noisy.scores / f"{sample.name}.npz", scores, noisy.dataset.label_set)
    # The weakest is neither first nor last, so that no order of visiting finds it by chance.
    grid = Grid(weights=(3, 1, 4), xy_stds=(9, 5, 12), rgb_stds=(6, 3, 8), refinements=0)
    tuning = run(segmenter, noisy, tmp_path / "work", grid=grid, search_images=1, resamples=10)
    points = (tmp_path / "work/points.jsonl").read_text().splitlines()
    assert {json.loads(line)[3] for line in points} == {1.0}, "all 27 points must be equal"
    assert len(points) == 27
    assert tuning.params == grid.params((1, 5, 3))


def test_threads_do_not_change_the_result(
    segmenter: Segmenter, noisy: Case, tmp_path: Path
) -> None:
    one = run(segmenter, noisy, tmp_path / "one", workers=1)
    assert run(segmenter, noisy, tmp_path / "three", workers=3) == one


def test_an_interrupted_search_is_resumed(
    segmenter: Segmenter, noisy: Case, tmp_path: Path
) -> None:
    whole = run(segmenter, noisy, tmp_path / "whole")
    work, heard = tmp_path / "work", []

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith("round 1") and done == 18:  # 4 images a point: in the fifth of 8
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(segmenter, noisy, work, progress=stop)
    points = (work / "points.jsonl").read_text()
    assert len(points.splitlines()) == 4
    (work / "points.jsonl").write_text(points + "[3, 9, 3, 0.12")  # a line that was cut short
    resumed = run(segmenter, noisy, work, progress=lambda *step: heard.append(step))
    assert resumed == whole
    assert [step[1:] for step in heard if step[0].startswith("round 1")][-1] == (16, 16)
    assert (work / "points.jsonl").read_text() == (tmp_path / "whole/points.jsonl").read_text()


def test_the_network_runs_once_per_image_and_its_scores_are_kept(
    segmenter: Segmenter, noisy: Case, tmp_path: Path
) -> None:
    runs: list[int] = []
    handle = segmenter.model.backbone.register_forward_hook(lambda *_: runs.append(1))
    options: dict[str, Any] = {"probabilities": None, "search_images": 2, "report_images": 3}
    try:
        first = run(segmenter, noisy, tmp_path / "work", **options)
        assert len(runs) == 5
        assert run(segmenter, noisy, tmp_path / "work", **options) == first
        assert len(runs) == 5
    finally:
        handle.remove()
    name = first.searched[0]
    saved = read_scores(tmp_path / f"work/probabilities/{name}.npz").probabilities
    computed = segmenter(read_image(noisy.root / f"images/{name}.png")).probabilities
    np.testing.assert_allclose(saved, computed, rtol=0.05)


def test_a_folder_of_another_search_is_refused(
    segmenter: Segmenter, noisy: Case, tmp_path: Path
) -> None:
    run(segmenter, noisy, tmp_path / "work")
    with pytest.raises(ValueError, match=r"another search \(search, report differ; see .*json"):
        run(segmenter, noisy, tmp_path / "work", seed=1)
    (tmp_path / "work/settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"another search \(unreadable settings differ"):
        run(segmenter, noisy, tmp_path / "work")


def test_images_without_scores_or_with_other_classes_are_named(
    segmenter: Segmenter, noisy: Case, tmp_path: Path
) -> None:
    np.save(noisy.scores / "p3.npy", np.full((2, 24, 33), 0.5, np.float32))
    (noisy.scores / "p3.npz").unlink()
    with pytest.raises(ValueError, match=r"p3.npy holds 2 classes, but folder has 3"):
        run(segmenter, noisy, tmp_path / "work")
    (noisy.scores / "p3.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"scores has neither p3.npz nor p3.npy; save"):
        run(segmenter, noisy, tmp_path / "work")


@pytest.mark.parametrize(("search", "report"), [(8, None), (5, 4), (0, 2)])
def test_too_few_images_for_both_parts_are_refused(
    segmenter: Segmenter, noisy: Case, tmp_path: Path, search: int, report: int | None
) -> None:
    with pytest.raises(ValueError, match=r"asked for, but there are 8; both parts need"):
        run(segmenter, noisy, tmp_path / "work", search_images=search, report_images=report)


def test_weights_of_other_classes_are_refused(
    segmenter: Segmenter, noisy: Case, tmp_path: Path
) -> None:
    (noisy.root / "classes.txt").write_text("a\nb\nc")
    from atrous.data import load_dataset

    other = load_dataset("folder", noisy.root, split="val")
    with pytest.raises(ValueError, match=r"the network's 3 classes \(left, right, never"):
        tune(segmenter, other, tmp_path / "work")
