"""TensorBoard: what a run writes for it, and what is said where the package is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.training import train
from atrous.training.recipe import recipe_from_table
from atrous.training.tensorboard import Board

pytestmark = pytest.mark.usefixtures("narrow_resnet18")


def write_data(root: Path) -> None:
    for folder in ("images", "labels", "splits"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        image = rng.integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(image).save(root / f"images/{name}.png")
        Image.fromarray((image[..., 0] > 128).astype(np.uint8)).save(root / f"labels/{name}.png")
    (root / "splits/train.txt").write_text("a")
    (root / "splits/val.txt").write_text("b")


def test_a_run_shows_curves_rates_and_pictures(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    write_data(tmp_path / "data")
    table = {
        "name": "small",
        "data": {"dataset": "folder", "root": str(tmp_path / "data"), "workers": 0},
        "augment": {"crop_hw": (17, 17)},
        "network": {"name": "deeplabv2_resnet18", "head": "conv1x1"},
        "optimizer": {"iterations": 2, "accumulate": 1, "learning_rate": 1e-6},
        "output": {"log_every": 1, "evaluate_every": 1, "tensorboard": True},
    }
    train(recipe_from_table(table), output=tmp_path / "run", say=lambda _: None)
    events = event_accumulator.EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"loss", "learning_rate", "miou", "iou/0", "learning_rates/group 1"} <= set(
        tags["scalars"]
    )
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    rates = [events.Scalars(f"learning_rates/group {i}")[0].value for i in (0, 1)]
    assert rates[0] != rates[1]
    assert tags["images"] == ["val/b"]
    assert [event.step for event in events.Images("val/b")] == [1, 2]


def test_a_missing_package_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        ImportError, match=r"needs the package tensorboard: pip install 'atrous\[tr"
    ):
        Board(tmp_path, first_iteration=0)
