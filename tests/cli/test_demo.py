"""`atrous demo`: real weights on the photo in the package, with every connection refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from atrous.cli.demo import CREDIT, PHOTO
from atrous.cli.main import main
from atrous.image_io import read_image, read_labels
from atrous.predict import Segmenter

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
    assert read_image(folder / "demo.png").shape[1] > 3 * photo.shape[1]
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
        "atrous segment YOUR_IMAGE.jpg -o",
    ):
        assert text in said
    for hop in ("decode", "preprocess", "network", "upsample", "labels"):
        assert f" s  {hop}\n" in said


def test_demo_shows_photo_labels_and_refined_labels(demo: tuple[str, Path]) -> None:
    said, folder = demo
    assert "dense CRF  on" in said
    assert " s  crf\n" in said
    assert read_image(folder / "demo.png").shape[1] > 3 * read_image(PHOTO).shape[1]
    plain = Segmenter("street-lite", crf=False)(PHOTO).labels
    changed = (read_labels(folder / "labels.png") != plain).mean()
    assert 0.001 < changed < 0.2


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
