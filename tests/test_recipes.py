"""Every recipe loads, says what it costs and gives, and takes two steps on its data's layout."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest
import torch

from atrous.data.voc import VOC
from atrous.models import build_network
from atrous.training import Recipe, load_recipe
from atrous.training.run import Run

from .data.layouts import WRITERS, write_camvid
from .data.trees import write_grey, write_photo, write_text

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))
PARTS = 9  # of recipes/people_parts.toml


def write_folder(root: Path, names: tuple[str, ...]) -> None:
    for name, split in (("2007_000001", "train"), ("2007_000002", "val")):
        write_photo(root / f"images/{name}.jpg")
        write_grey(root / f"labels/{name}.png", [0, 1, len(names) - 1, 255])
        write_text(root / f"splits/{split}.txt", name)
    write_text(root / "classes.txt", *names)


def write_tree(root: Path, dataset: str, *, recipe: str) -> None:
    if dataset == "camvid":
        write_camvid(root)
    elif dataset == "folder":
        is_weak = "weak" in recipe
        write_folder(root, VOC.names if is_weak else tuple(f"part {i}" for i in range(PARTS)))
    else:
        WRITERS[dataset](root)


def shrink(config: Recipe, root: Path, val_root: Path | None) -> Recipe:
    """Keep all but crop, batch and a ResNet's depth, the data's place and the initial weights."""
    network = config.network
    if network.name == "deeplabv2_resnet101":  # ResNet-18 has no bottlenecks
        network = dataclasses.replace(network, name="deeplabv2_resnet18", stride_in_1x1=None)
    val = None if val_root is None else str(val_root)
    data = dataclasses.replace(config.data, root=str(root), val_root=val, workers=0)
    loss = config.loss
    return dataclasses.replace(
        config,
        data=data,
        augment=dataclasses.replace(
            config.augment,
            crop_hw=(33, 33),
            scales=tuple(5 * s for s in config.augment.scales),  # the trees' photos are 6x8
        ),
        network=network,
        init="none",
        # Random weights under batch norms that do nothing would run away at the true rate.
        optimizer=dataclasses.replace(
            config.optimizer, batch_size=2, accumulate=1, iterations=2, learning_rate=1e-6
        ),
        loss=dataclasses.replace(loss, coarse_iterations=min(1, loss.coarse_iterations)),
    )


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_takes_two_steps(path: Path, tmp_path: Path) -> None:
    config = load_recipe(path)
    write_tree(tmp_path / "data", config.data.dataset, recipe=path.stem)
    val_root = None
    if config.data.val_dataset is not None:
        val_root = tmp_path / "val"
        write_tree(val_root, config.data.val_dataset, recipe=path.stem)
    small = shrink(config, tmp_path / "data", val_root)
    run = Run(small, tmp_path / "run", device="cpu", say=lambda _: None)
    batches = run.batches()
    before = {name: p.detach().clone() for name, p in run.model.head.named_parameters()}
    losses = [run.step(batches), run.step(batches)]
    assert all(math.isfinite(loss) for loss in losses)
    assert sum(losses) > 0
    moved = [n for n, p in run.model.head.named_parameters() if not torch.equal(p, before[n])]
    assert moved
    assert len(run.val_set) > 0
    with torch.device("meta"):  # the recipe's own network, without its memory
        whole = build_network(
            config.network_for(run.train_set.label_set.num_classes), scales=config.scales
        )
    assert whole.options["name"] == config.network.name


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_head_says_command_hours_and_expected_score(path: Path) -> None:
    head = "".join(line for line in path.read_text().splitlines(True) if line.startswith("#"))
    assert f"atrous train recipes/{path.name} --data " in head
    assert re.search(r"Hours: estimate: [\d.]+ (h|min) on .*|Measured: [\d.]+ h on ", head), head
    assert re.search(r"Expected: |mean IoU [\d.]+ on val", head), head
    assert ("on a GPU" in head) == (" --device cuda" in head), "hours and command must agree"
    init = load_recipe(path).init
    if init not in ("none", "imagenet"):
        first = f"recipes/{Path(init).stem.replace('-', '_')}.toml"
        assert Path(init).name in head or first in head


def test_a_missing_file_of_initial_weights_says_what_to_do(tmp_path: Path) -> None:
    config = load_recipe(RECIPES[0])
    write_camvid(tmp_path)
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, root=str(tmp_path), workers=0)
    )
    with pytest.raises(FileNotFoundError, match=r"resnet101.pth, which does not exist; the first"):
        Run(config, tmp_path / "run", device="cpu", say=lambda _: None)
