"""`atrous segment`: what it finds, what it writes, what it refuses, and that the rest is done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from atrous.cli.main import main
from atrous.image_io import read_image, read_labels, write_image
from atrous.labels import LabelSet
from atrous.models import create_model
from atrous.predict import Segmenter
from atrous.preprocess import Preprocess
from atrous.weights import Entry, save_weights

THREE = LabelSet(("sky", "road", "tree"), ((0, 0, 255), (90, 90, 90), (0, 128, 0)))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_model("deeplabv2_efficientnet_lite0", 3, head="conv1x1")
    entry = Entry(
        name="drawn",
        options=model.options,
        label_set=THREE,
        preprocess=Preprocess(padding="none"),
        licence="CC0",
        notice="for tests only",
        source="drawn at random",
    )
    path = tmp_path_factory.mktemp("weights") / "drawn.safetensors"
    save_weights(path, model.state_dict(), entry)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with `photos/`, two photos of different sizes and what is no photo."""
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, size in (("a.jpg", (20, 30)), ("b.png", (9, 9))):
        pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        write_image(photos / name, pixels)
    (photos / "notes.txt").write_text("no photo")
    (photos / ".hidden.png").write_text("no photo either")
    return tmp_path


@pytest.fixture
def segment(weights: Path) -> Any:
    def run(*args: str) -> Result:
        return CliRunner().invoke(main, ["segment", *args, "--weights", str(weights)])

    return run


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- what is done ---------------------------------------------------------------------------------


def test_folder_becomes_labels_and_overlays(segment: Any, folder: Path, weights: Path) -> None:
    result = segment("photos", "-o", "out")
    assert result.exit_code == 0, result.output
    assert written(folder / "out") == ["a.png", "a_overlay.png", "b.png", "b_overlay.png"]
    labels = read_labels("out/a.png")
    np.testing.assert_array_equal(labels, Segmenter(weights)("photos/a.jpg").labels)
    with Image.open("out/a.png") as image:
        assert image.mode == "P"
        assert image.getpalette()[:9] == [value for colour in THREE.palette for value in colour]
    overlay = read_image("out/a_overlay.png")
    assert overlay.shape[0] > 20
    assert overlay.shape[1] >= 30


def test_what_was_done_is_said(segment: Any, folder: Path) -> None:
    lines = segment("photos", "-o", "out").stdout.splitlines()
    assert lines[0] == "weights drawn (for tests only)"
    assert lines[1].startswith("dense CRF off (")
    assert lines[2].startswith(f"{Path('photos/a.jpg')} -> {Path('out/a.png')}  ")
    assert lines[-1].startswith("2 of 2 images labelled in ")
    assert lines[-1].endswith("results are in out/")


def test_probabilities_are_kept_on_request(segment: Any, folder: Path, weights: Path) -> None:
    assert segment("photos/a.jpg", "-o", "out", "--probabilities").exit_code == 0
    assert written(folder / "out") == ["a.npz", "a.png", "a_overlay.png"]
    expected = Segmenter(weights)("photos/a.jpg").probabilities
    with np.load("out/a.npz") as stored:
        assert stored["names"].tolist() == list(THREE.names)
        kept = np.exp(-stored["step"] * stored["unary"])
    np.testing.assert_allclose(kept, expected.clip(1e-5, 1), rtol=0.023)


def test_scales_and_flip_reach_the_segmenter(segment: Any, folder: Path, weights: Path) -> None:
    args = ("-o", "out", "--probabilities", "--scales", "1, 0.5", "--flip")
    assert segment("photos/a.jpg", *args).exit_code == 0
    expected = Segmenter(weights, scales=(1, 0.5), flip=True)("photos/a.jpg").probabilities
    with np.load("out/a.npz") as stored:
        kept = np.exp(-stored["step"] * stored["unary"])
    np.testing.assert_allclose(kept, expected.clip(1e-5, 1), rtol=0.023)


def test_globs_that_the_shell_left_are_expanded(segment: Any, folder: Path) -> None:
    (folder / "photos" / "deep").mkdir()
    write_image("photos/deep/c.png", np.zeros((9, 9, 3), np.uint8))
    assert segment("photos/**/*.png", "-o", "out").exit_code == 0
    assert written(folder / "out") == ["b.png", "b_overlay.png", "c.png", "c_overlay.png"]


def test_file_whose_name_looks_like_a_glob_is_a_file(segment: Any, folder: Path) -> None:
    write_image("a[1].png", np.zeros((9, 9, 3), np.uint8))
    assert segment("a[1].png", "-o", "out").exit_code == 0
    assert written(folder / "out") == ["a[1].png", "a[1]_overlay.png"]


def test_photo_named_twice_is_done_once(segment: Any, folder: Path) -> None:
    result = segment("photos/b.png", "photos/*.png", "photos/../photos/b.png", "-o", "out")
    assert "1 of 1 images" in result.stdout
    assert written(folder / "out") == ["b.png", "b_overlay.png"]


def test_photos_of_one_stem_do_not_overwrite_each_other(segment: Any, folder: Path) -> None:
    for name, size in (("a.png", 10), ("A.PNG", 11), ("a-2.png", 12), ("a_overlay.png", 13)):
        write_image(f"photos/{name}", np.zeros((size, size, 3), np.uint8))
    Path("other").mkdir()
    write_image("other/a.bmp", np.zeros((14, 14, 3), np.uint8))
    photos = ["a.jpg", "a.png", "A.PNG", "a-2.png", "a_overlay.png"]
    result = segment(*(f"photos/{name}" for name in photos), "other", "-o", "out")
    assert result.exit_code == 0, result.output
    names = written(folder / "out")
    assert len({name.casefold() for name in names}) == len(names) == 12
    sizes = sorted(read_labels(p).shape[0] for p in Path("out").iterdir() if is_labels(p))
    assert sizes == [10, 11, 12, 13, 14, 20]


def is_labels(path: Path) -> bool:
    with Image.open(path) as image:
        return image.mode == "P"


def test_second_run_replaces_the_first(segment: Any, folder: Path) -> None:
    assert segment("photos", "-o", "out").exit_code == 0
    before = written(folder / "out")
    assert segment("photos", "-o", "out").exit_code == 0
    assert written(folder / "out") == before


# --- what fails, while the rest is done -----------------------------------------------------------


def test_failures_are_listed_and_the_rest_is_done(segment: Any, folder: Path) -> None:
    photo = (folder / "photos" / "a.jpg").read_bytes()
    Path("photos/cut.jpg").write_bytes(photo[: len(photo) // 2])
    Path("photos/empty.png").touch()
    Path("photos/text.png").write_text("no photo")
    Path("bare").mkdir()
    result = segment("photos", "nope.jpg", "*.tiff", "bare", "-o", "out")
    assert result.exit_code == 1
    assert written(folder / "out") == ["a.png", "a_overlay.png", "b.png", "b_overlay.png"]
    assert "2 of 5 images labelled" in result.stdout
    heading, *reasons = result.stderr.splitlines()
    assert heading == "6 failed:"
    assert reasons[0] == "  nope.jpg: does not exist"
    assert reasons[1] == "  *.tiff: matches no file"
    assert reasons[2].startswith("  bare: no images in this folder; for those of subfolders give")
    photos = Path("photos")
    assert reasons[3].startswith(f"  {photos / 'cut.jpg'} is damaged or cut short: ")
    assert reasons[4] == f"  {photos / 'empty.png'} is empty (0 bytes)"
    assert reasons[5].startswith(f"  {photos / 'text.png'} is not an image")


def test_nothing_to_do_makes_no_folder(segment: Any, folder: Path) -> None:
    result = segment("nope.jpg", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == ["1 failed:", "  nope.jpg: does not exist"]
    assert not Path("out").exists()


def test_failed_write_leaves_nothing_half_written(
    segment: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, begun = os.replace, []

    def fill(temporary: Path, path: Path) -> None:
        begun.append(path)
        if len(begun) > 1:  # the disk is full after the first file
            raise OSError(28, "No space left on device", str(temporary))
        replace(temporary, path)

    monkeypatch.setattr(os, "replace", fill)
    result = segment("photos", "-o", "out")
    assert result.exit_code == 1
    full = "could not be written (No space left on device)"
    assert result.stderr.splitlines()[1:] == [
        f"  {Path('photos/a.jpg')}: {Path('out/a_overlay.png')}: {full}",
        f"  {Path('photos/b.png')}: {Path('out/b.png')}: {full}",
    ]
    assert written(folder / "out") == ["a.png"]
    assert read_labels("out/a.png").shape == (20, 30)


# --- what is refused at once ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["photos"], "Missing option '-o'"),
        (["-o", "out"], "Missing argument 'PATHS...'"),
        (
            ["photos", "-o", "photos"],
            "photos holds the images; results written there could",
        ),
        (["photos/b.png", "-o", "photos"], "photos holds the images"),
        (["photos", "-o", "photos/notes.txt"], "is a file; the output must be a folder"),
        (["photos", "-o", "labels.png"], "labels.png looks like a file name; the output must"),
        (["photos", "-o", "out", "--scales", "1,half"], "'1,half' is not a list such as 1,0.75"),
        (["photos", "-o", "out", "--scales", "0.5,1"], "give 1 first"),
        (["photos", "-o", "out", "--tile"], "No such option"),
    ],
)
def test_wrong_usage_is_status_2(segment: Any, folder: Path, args: list[str], says: str) -> None:
    result = segment(*args)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert not Path("out").exists()
    assert written(folder / "photos") == [".hidden.png", "a.jpg", "b.png", "notes.txt"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--weights", "nope.safetensors"], "nope.safetensors"),
        (["--weights", "street-light"], "no weights are called 'street-light'"),
        (["--device", "gpu"], "device 'gpu' does not work here"),
    ],
)
def test_what_cannot_run_is_one_line_and_status_1(
    folder: Path, weights: Path, args: list[str], says: str
) -> None:
    paths = ["segment", "photos", "-o", "out", "--weights", str(weights)]
    result = CliRunner().invoke(main, [*paths, *args])
    assert result.exit_code == 1
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (folder / "out").exists()


def test_output_under_a_file_is_one_line_and_status_1(segment: Any, folder: Path) -> None:
    result = segment("photos", "-o", "photos/notes.txt/out")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "Not a directory" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_output_is_one_line_and_status_1(segment: Any, folder: Path) -> None:
    Path("out").mkdir(mode=0o500)
    result = segment("photos", "-o", "out")
    assert result.exit_code == 1
    assert "Permission denied" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_crf_on_request_refines(segment: Any, folder: Path) -> None:
    result = segment("photos", "-o", "out", "--crf")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1].startswith("dense CRF on (CRFParams(")
    plain = segment("photos", "-o", "plain")
    assert plain.exit_code == 0
    assert any(
        not np.array_equal(read_labels(f"out/{name}.png"), read_labels(f"plain/{name}.png"))
        for name in ("a", "b")
    )
