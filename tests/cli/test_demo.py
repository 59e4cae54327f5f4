"""`atrous demo`: real weights on the photo in the package, with every connection refused."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from atrous.cli.demo import CREDIT, PHOTO
from atrous.cli.main import main
from atrous.image_io import read_image, read_labels
from atrous.labels import LabelSet, voc_palette
from atrous.models import DeepLab, create_model
from atrous.predict import Segmenter
from atrous.preprocess import Preprocess
from atrous.weights import Entry

# What `atrous demo` is, in a process in which nothing can be connected to or looked up.
OFFLINE = """
import json, socket, sys

tried = []

def refuse(*args, **kwargs):
    tried.append(repr(args))
    raise OSError("the network is off")

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, refuse)

from atrous.cli.main import main

try:
    main(["demo", "-o", sys.argv[1]], prog_name="atrous")
finally:
    print(json.dumps(tried), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Run it once; give what it printed and its folder."""
    folder = tmp_path_factory.mktemp("demo") / "pictures"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OFFLINE, str(folder)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == []
    return done.stdout, folder


def test_demo_makes_its_pictures_offline(demo: tuple[str, Path]) -> None:
    _, folder = demo
    assert sorted(path.name for path in folder.iterdir()) == [
        "demo.png", "labels.png", "overlay.png",
    ]  # fmt: skip
    photo = read_image(PHOTO)
    assert read_labels(folder / "labels.png").shape == photo.shape[:2]
    assert read_image(folder / "demo.png").shape[1] > 2 * photo.shape[1]
    assert read_image(folder / "overlay.png").shape[0] > photo.shape[0]


def test_demo_finds_sky_building_and_trees(demo: tuple[str, Path]) -> None:
    labels = read_labels(demo[1] / "labels.png")
    sky, building, tree = 0, 1, 5
    assert (labels[:60, 400:] == sky).mean() > 0.9  # upper right corner
    assert (labels[180:330, 120:300] == building).mean() > 0.7  # the tower
    assert (labels[350:, :120] == tree).mean() > 0.7  # lower left


def test_demo_says_what_it_did_and_where(demo: tuple[str, Path]) -> None:
    said, folder = demo
    for text in (
        "china.jpg, 640x427",
        CREDIT,
        "deeplabv2_efficientnet_lite0, 11 classes",
        "street-lite, mIoU 0.",
        "non-commercial research only",
        str(folder / "demo.png"),
        str(folder / "overlay.png"),
        str(folder / "labels.png"),
        "atrous segment YOUR_PHOTO.jpg -o",
    ):
        assert text in said
    for hop in ("decode", "preprocess", "network", "upsample", "labels"):
        assert f" s  {hop}\n" in said


def test_demo_says_that_the_crf_is_off_while_there_is_none(demo: tuple[str, Path]) -> None:
    assert "dense CRF  off (this version of atrous has no dense CRF)" in demo[0]


def test_demo_shows_the_refined_labels_where_there_is_a_crf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DenseCRF:
        """Stands in for the real one, to see it called; turns the classes round."""

        def __init__(self, params: dict[str, float]) -> None:
            assert params["bilateral_xy_std"] == 67

        def refine(self, probabilities: np.ndarray, image: np.ndarray) -> np.ndarray:
            assert image.shape[:2] == probabilities.shape[1:]
            return probabilities[::-1].copy()

    module: Any = ModuleType("atrous.crf")
    module.__spec__ = ModuleSpec("atrous.crf", None)
    module.CRFParams, module.DenseCRF = dict, DenseCRF
    monkeypatch.setitem(sys.modules, "atrous.crf", module)
    monkeypatch.setattr("atrous.predict.segmenter.load_model", lambda _: drawn_pair())
    result = CliRunner().invoke(main, ["demo", "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "dense CRF  on" in result.stdout
    assert " s  crf\n" in result.stdout
    assert read_image(tmp_path / "demo.png").shape[1] > 3 * read_image(PHOTO).shape[1]
    plain = Segmenter(drawn_pair(), crf=False)(PHOTO)
    np.testing.assert_array_equal(
        read_labels(tmp_path / "labels.png"), plain.probabilities[::-1].argmax(0)
    )


def drawn_pair() -> tuple[DeepLab, Entry]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_model("deeplabv2_efficientnet_lite0", 3, head="conv1x1", output_stride=16)
    crf = {
        "iterations": 10, "spatial_weight": 3, "spatial_xy_std": 1, "bilateral_weight": 4,
        "bilateral_xy_std": 67, "bilateral_rgb_std": 3,
    }  # fmt: skip
    entry = Entry(
        name="drawn",
        options=model.options,
        label_set=LabelSet(("sky", "road", "tree"), voc_palette(3)),
        preprocess=Preprocess(padding="none"),
        crf=crf,
        licence="CC0",
        source="drawn at random",
    )
    return model.eval(), entry


def test_demo_without_its_weights_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atrous.cli.demo.WEIGHTS", "street-light")
    result = CliRunner().invoke(main, ["demo", "-o", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: no weights are called 'street-light'")
    assert not list(tmp_path.iterdir())


def test_demo_photo_is_the_one_its_credit_names() -> None:
    credit = PHOTO.with_suffix(".CREDIT").read_text(encoding="utf-8")
    assert credit.startswith("china.jpg")
    assert "danielbuechele" in credit
    assert "https://creativecommons.org/licenses/by/2.0/" in credit
    with Image.open(PHOTO) as image:
        assert f"{image.width}x{image.height}" in credit
    assert np.ptp(read_image(PHOTO)) > 200
