"""`atrous crf`: what it pairs, writes, leaves and refuses, and that the rest is done."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from atrous.cli.main import main
from atrous.crf import CRFParams
from atrous.image_io import read_image, read_labels, write_image, write_labels, write_probabilities
from atrous.labels import LabelSet, voc_palette

Crf = Callable[..., Result]


def draw(classes: int, height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Draw probabilities that are blocks: the CRF has something to do at their edges."""
    generator = np.random.default_rng(seed)
    blocks = generator.random((classes, height // 4 + 1, width // 4 + 1)).astype(np.float32)
    scores = blocks.repeat(4, 1).repeat(4, 2)[:, :height, :width] ** 4 + 1e-3
    return scores / scores.sum(axis=0)


SIZES = {"a.jpg": (20, 30), "b.png": (17, 9), "c.webp": (8, 8)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with three photos and their scores."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "scores"):
        Path(name).mkdir()
    for name, size in SIZES.items():
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        write_image(Path("photos") / name, pixels)
    np.save("scores/a.npy", draw(4, 20, 30))
    np.savez("scores/b.npz", probabilities=draw(3, 17, 9).astype(np.float16))
    write_probabilities("scores/c.npz", draw(2, 8, 8), LabelSet(("no", "yes"), voc_palette(2)))
    Path("photos/notes.txt").write_text("no photo")
    Path("scores/.hidden.npy").write_text("no scores")
    return tmp_path


@pytest.fixture
def crf(folder: Path) -> Crf:
    def run(*args: str, images: str = "photos", scores: str = "scores") -> Result:
        paths = ["--images", images, "--probabilities", scores, "-o", "out"]
        return CliRunner().invoke(main, ["crf", *paths, *args])

    return run


@pytest.fixture
def masks(folder: Path) -> Crf:
    """Work on label masks in their place."""
    Path("masks").mkdir()
    for name, size in SIZES.items():
        labels = draw(3, *size).argmax(axis=0).astype(np.uint8)
        labels[:2] = 255
        write_labels(f"masks/{Path(name).stem}.png", labels, LabelSet(tuple("abc"), voc_palette(3)))

    def run(*args: str) -> Result:
        paths = ["--images", "photos", "--labels", "masks", "-o", "out"]
        return CliRunner().invoke(main, ["crf", *paths, *args])

    return run


def written(folder: str = "out") -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def refined(scores: np.ndarray, photo: str, **options: Any) -> np.ndarray:
    from atrous.crf import DenseCRF

    return DenseCRF(CRFParams(**options)).refine(scores, read_image(photo))


# --- what is done ---------------------------------------------------------------------------------


def test_scores_become_refined_labels(crf: Crf) -> None:
    result = crf()
    assert result.exit_code == 0, result.output
    assert written() == ["a.png", "b.png", "c.png", "crf.json"]
    expected = refined(draw(4, 20, 30), "photos/a.jpg").argmax(axis=0)
    np.testing.assert_array_equal(read_labels("out/a.png"), expected)
    with Image.open("out/a.png") as image:
        assert image.mode == "P"
        palette = voc_palette(4)
        assert image.getpalette()[:12] == [value for colour in palette for value in colour]


def test_what_was_done_is_said(crf: Crf) -> None:
    lines = crf().stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("3 of 3 images refined in ")
    assert lines[0].endswith(" images/s); results are in out/")


def test_parameters_reach_the_crf(crf: Crf) -> None:
    values = {
        "iterations": 3,
        "spatial_weight": 2.5,
        "spatial_xy_std": 2.0,
        "bilateral_weight": 5.5,
        "bilateral_xy_std": 30.0,
        "bilateral_rgb_std": 40.0,
    }
    args = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    assert crf("--write", "probabilities", *args).exit_code == 0
    expected = refined(draw(4, 20, 30), "photos/a.jpg", **values)
    with np.load("out/a.npz") as stored:
        kept = np.exp(-stored["step"] * stored["unary"])
    np.testing.assert_allclose(kept, expected.clip(1e-5, 1), rtol=0.03)


@pytest.mark.parametrize(
    "args", [("--accuracy", "high"), ("--prune-below", "0.01"), ("--workers", "3")]
)
def test_ways_of_computing_are_accepted(crf: Crf, args: tuple[str, ...]) -> None:
    result = crf(*args)
    assert result.exit_code == 0, result.output
    assert written() == ["a.png", "b.png", "c.png", "crf.json"]


def test_both_results_are_written_on_request(crf: Crf) -> None:
    assert crf("--write", "both").exit_code == 0
    assert written() == [*sorted(f"{s}.{end}" for s in "abc" for end in ("npz", "png")), "crf.json"]
    with np.load("out/c.npz") as stored:
        assert stored["names"].tolist() == ["no", "yes"]
    with np.load("out/a.npz") as stored:
        assert stored["names"].tolist() == ["0", "1", "2", "3"]


def test_results_are_scores_for_another_round(crf: Crf) -> None:
    assert crf("--write", "probabilities").exit_code == 0
    Path("out").rename("again")
    assert crf(scores="again").exit_code == 0
    assert written() == ["a.png", "b.png", "c.png", "crf.json"]


def test_logits_are_put_through_softmax(crf: Crf) -> None:
    assert crf().exit_code == 0
    expected = {stem: read_labels(f"out/{stem}.png") for stem in "abc"}
    shutil.rmtree("out")
    Path("logits").mkdir()
    for name, shape in (("a", (4, 20, 30)), ("b", (3, 17, 9))):
        np.save(f"logits/{name}.npy", np.log(draw(*shape)) + 7)
    assert crf("--logits", scores="logits").exit_code == 0
    assert (read_labels("out/a.png") == expected["a"]).mean() > 0.99


@pytest.mark.parametrize("args", [("--background", "0.2"), ("--background-power", "4")])
def test_class_activation_maps_become_labels_of_their_classes(
    crf: Crf, args: tuple[str, ...]
) -> None:
    Path("cams").mkdir()
    maps = np.zeros((2, 20, 30), np.float32)
    maps[0, :, :10], maps[1, :, 20:] = 0.9, 0.8
    np.save("cams/a.npy", {"keys": np.array([3, 14]), "high_res": maps}, allow_pickle=True)  # type: ignore[arg-type]
    np.save("cams/c.npy", {"keys": [], "high_res": maps[:0, :8, :8]}, allow_pickle=True)  # type: ignore[arg-type]
    result = crf(*args, "--spatial-weight", "0", "--bilateral-weight", "0", scores="cams")
    assert result.exit_code == 0, result.output
    assert read_labels("out/a.png")[0].tolist() == [4] * 10 + [0] * 10 + [15] * 10
    assert not read_labels("out/c.png").any()


def test_many_classes_become_16_bit_labels(crf: Crf) -> None:
    Path("many").mkdir()
    scores = np.zeros((300, 8, 8), np.float32)
    scores[299] = 1
    np.save("many/c.npy", scores)
    assert crf(scores="many").exit_code == 0
    labels = read_labels("out/c.png")
    assert labels.dtype == np.uint16
    assert (labels == 299).all()


def test_label_masks_become_refined_masks(masks: Crf) -> None:
    result = masks("--gt-prob", "0.6")
    assert result.exit_code == 0, result.output
    mask = read_labels("masks/a.png")
    scores = np.full((3, 20, 30), 0.2, np.float32)
    for label in range(3):
        scores[label, mask == label] = 0.6
    scores[:, mask == 255] = 1 / 3
    expected = refined(scores, "photos/a.jpg").argmax(axis=0)
    np.testing.assert_array_equal(read_labels("out/a.png"), expected)


@pytest.mark.parametrize("args", [("--unsure", "0"), ("--unsure", "0", "--num-classes", "256")])
def test_unsure_label_is_not_among_the_refined(masks: Crf, args: tuple[str, ...]) -> None:
    result = masks("--gt-prob", "0.9", *args)
    assert result.exit_code == 0, result.output
    for stem in "abc":
        assert read_labels(f"out/{stem}.png").min() > 0


# --- going on where a run was stopped -------------------------------------------------------------


def test_second_run_does_what_is_missing(crf: Crf) -> None:
    assert crf("--write", "both").exit_code == 0
    before = {name: Path("out", name).stat().st_mtime_ns for name in written()}
    Path("out/b.npz").unlink()
    result = crf("--write", "both")
    assert result.exit_code == 0
    assert (
        result.stdout.splitlines()[0]
        == "skipped 2 images whose results exist; --overwrite repeats them"
    )
    assert result.stdout.splitlines()[1].startswith("1 of 1 images refined in ")
    after = {name: Path("out", name).stat().st_mtime_ns for name in written()}
    assert [name for name in before if before[name] != after[name]] == ["b.npz", "b.png"]


def test_finished_run_does_nothing(crf: Crf) -> None:
    assert crf().exit_code == 0
    result = crf()
    assert result.exit_code == 0
    assert result.stdout == "skipped 3 images whose results exist; --overwrite repeats them\n"


def test_results_of_other_settings_are_not_mixed(crf: Crf) -> None:
    assert crf().exit_code == 0
    result = crf("--iterations", "5")
    assert result.exit_code == 2
    assert "out holds results of other settings (iterations; see" in flat(result.stderr)
    result = crf("--iterations", "5", "--overwrite")
    assert result.exit_code == 0
    assert "3 of 3 images refined" in result.stdout
    assert json.loads(Path("out/crf.json").read_text())["iterations"] == 5
    Path("out/crf.json").write_text("{")
    assert "other settings (settings; see" in flat(crf().stderr)


def test_failed_write_leaves_nothing_half_written(
    crf: Crf, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def fill(temporary: Path, path: Path) -> None:
        if path.suffix == ".png":
            raise OSError(28, "No space left on device", str(temporary))
        replace(temporary, path)

    monkeypatch.setattr(os, "replace", fill)
    result = crf()
    assert result.exit_code == 1
    reason = "could not be written (No space left on device)"
    assert result.stderr.splitlines() == [
        "3 failed:",
        *(
            f"  {Path('scores', name)}: {Path('out', name[0])}.png: {reason}"
            for name in ("a.npy", "b.npz", "c.npz")
        ),
    ]
    assert written() == ["crf.json"]


def test_interrupted_run_starts_no_further_image(crf: Crf, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        shutil.copy("photos/c.webp", f"photos/x{number}.webp")
        shutil.copy("scores/c.npz", f"scores/x{number}.npz")

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("atrous.progress.ProgressBar.update", interrupt)
        result = crf("--workers", "1")
    assert result.exit_code == 130
    assert "Interrupted." in result.stderr
    done = len(written())
    assert done < 23
    assert f"skipped {done - 1} images" in crf().stdout
    assert len(written()) == 24


# --- what fails, while the rest is done -----------------------------------------------------------


def test_failures_are_listed_and_the_rest_is_done(crf: Crf) -> None:
    np.save("scores/alone.npy", draw(2, 4, 4))
    write_image("photos/d.png", np.zeros((8, 8, 3), np.uint8))
    np.save("scores/d.npy", draw(2, 4, 4))
    write_image("photos/e.png", np.zeros((8, 8, 3), np.uint8))
    Path("scores/e.npz").write_bytes(b"PK")
    Path("photos/f.png").write_text("no photo")
    np.save("scores/f.npy", draw(2, 4, 4))
    shutil.copy("photos/a.jpg", "photos/twice.jpg")
    shutil.copy("photos/a.jpg", "photos/twice.jpeg")
    np.save("scores/twice.npy", draw(2, 20, 30))
    result = crf()
    assert result.exit_code == 1
    assert written() == ["a.png", "b.png", "c.png", "crf.json"]
    assert "3 of 8 images refined" in result.stdout
    heading, *reasons = result.stderr.splitlines()
    assert heading == "5 failed:"
    assert reasons[0] == f"  {Path('scores/alone.npy')}: no image {Path('photos/alone')}.*"
    assert "twice.npy, twice.jpeg, twice.jpg share a stem; which belong together?" in reasons[1]
    assert f"{Path('scores/d.npy')}: scores are 4x4 but the image is 8x8; resize" in reasons[2]
    assert f"{Path('scores/e.npz')}: damaged or cut short" in reasons[3]
    assert f"{Path('photos/f.png')} is not an image" in reasons[4]


def test_bug_ends_the_run_with_its_traceback(crf: Crf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atrous.batch_crf.write_probabilities", lambda *_: [][0])
    result = crf("--write", "both")
    assert isinstance(result.exception, IndexError)


def test_photos_without_scores_are_counted(crf: Crf) -> None:
    Path("scores/b.npz").unlink()
    Path("scores/c.npz").unlink()
    result = crf()
    assert result.exit_code == 0
    said = result.stdout.splitlines()[0]
    assert said == "2 images have no scores and are left out, first b.png"
    assert written() == ["a.png", "crf.json"]


def test_folder_without_scores_fails(crf: Crf) -> None:
    Path("empty").mkdir()
    result = crf(scores="empty")
    assert result.exit_code == 1
    assert "empty: no scores (.npy, .npz) in this folder" in result.stderr
    assert not Path("out").exists()


def test_black_and_white_masks_need_a_list_of_classes(masks: Crf) -> None:
    numbers = {}
    for path in sorted(Path("masks").iterdir()):
        numbers[path.name] = (np.array(Image.open(path)) == 1).astype(np.uint8)
        Image.fromarray(numbers[path.name] * 255).save(path)
    result = masks()
    assert result.exit_code == 1
    assert "`background 0 0 0` and `foreground 255 255 255` in classes.txt" in result.stderr
    assert not Path("out").exists()
    Path("classes.txt").write_text("background 0 0 0\nforeground 255 255 255\n")
    assert masks().exit_code == 0
    for name, labels in numbers.items():
        Image.fromarray(labels).save(f"masks/{name}")
    Path("classes.txt").unlink()
    expected = {path.name: np.array(Image.open(path)) for path in Path("out").glob("*.png")}
    assert set(np.unique(expected["a.png"])) == {0, 1}
    assert masks("--overwrite").exit_code == 0
    for name, labels in expected.items():
        assert np.array_equal(np.array(Image.open(f"out/{name}")), labels)


def test_masks_of_another_size_or_class_fail(masks: Crf) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("masks/a.png")
    Image.fromarray(np.full((17, 9), 7, np.uint8)).save("masks/b.png")
    result = masks("--num-classes", "3")
    assert result.exit_code == 1
    assert "a.png is 4x4 (width x height) but a.jpg is 30x20; a mask must have" in result.stderr
    assert "b.png: labels hold [7], but classes are 0-2" in result.stderr
    assert written() == ["c.png", "crf.json"]


# --- what is refused at once ----------------------------------------------------------------------


def flat(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--labels", "photos"], "give either probabilities or labels"),
        (["-o", "photos"], "photos holds the images, scores or masks; results written there"),
        (["-o", "scores"], "scores holds the images, scores or masks; results written there"),
        (["-o", "photos/notes.txt"], "is a file; the output must be a folder"),
        (["-o", "x.png"], "x.png looks like a file name; the output must be a folder"),
        (["--images", "nowhere"], "Directory 'nowhere' does not exist"),
        (["--gt-prob", "0.5"], "gt_prob is an option for label masks, not scores"),
        (["--unsure", "0"], "unsure_label is an option for label masks, not scores"),
        (["--num-classes", "3"], "num_classes is an option for label masks, not scores"),
        (["--background", "0"], "0.0 is not in the range x>0"),
        (["--logits", "--background", "1"], "give only one of logits, background and"),
        (["--background", "1", "--background-power", "1"], "give only one of logits, background"),
        (["--iterations", "-1"], "iterations is -1; it must be 0 or more"),
        (["--spatial-xy-std", "0"], "spatial_xy_std is 0"),
        (["--prune-below", "2"], "prune_below is 2"),
        (["--workers", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage_is_status_2(crf: Crf, args: list[str], says: str) -> None:
    result = crf(*args)
    assert result.exit_code == 2
    assert says in flat(result.stderr)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--logits"], "logits is an option for scores, not label masks"),
        (["--gt-prob", "1"], "1.0 is not in the range 0<x<1"),
    ],
)
def test_wrong_usage_of_masks_is_status_2(masks: Crf, args: list[str], says: str) -> None:
    result = masks(*args)
    assert result.exit_code == 2
    assert says in flat(result.stderr)
