"""Small synthetic data and recipes for whole runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from atrous.weights.checkpoint import read_weights


def write_tree(root: Path) -> Path:
    """Write six images, dark on the left and bright on the right, with unequal shares of void."""
    rng = np.random.default_rng(0)
    for folder in ("images", "labels", "splits"):
        (root / folder).mkdir(parents=True)
    for index in range(6):
        image = rng.integers(0, 60, (40, 56, 3), np.uint8)
        image[:, 28:] += 180
        labels = np.zeros((40, 56), np.uint8)
        labels[:, 28:] = 1
        labels[: (2, 40, 30, 9, 2, 2)[index]] = 255  # image 1 is void from top to bottom
        Image.fromarray(image).save(root / f"images/p{index}.png")
        Image.fromarray(labels).save(root / f"labels/p{index}.png")
    (root / "splits/train.txt").write_text("\n".join(f"p{i}" for i in range(4)))
    (root / "splits/val.txt").write_text("p4\np5")
    (root / "classes.txt").write_text("dark\nbright")
    return root


RECIPE = """
name = "small"
[data]
dataset = "folder"
workers = 0
[augment]
crop_hw = [33, 33]
scales = [1.0]
[network]
name = "deeplabv2_efficientnet_lite0"
head = "conv1x1"
[optimizer]
learning_rate = 2e-6
iterations = 6
batch_size = 4
accumulate = 1
[output]
evaluate_every = 0
checkpoint_every = 2
log_every = 1
licence = "CC0-1.0"
"""


def command(tree: Path, output: Path, *changes: str, processes: int = 1) -> list[str]:
    """Return the `atrous train` command for a tree, with values of the recipe replaced."""
    recipe = tree.parent / "small.toml"
    recipe.write_text(RECIPE)
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
        launch += ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    train = ["-m", "atrous", "train", str(recipe), "--data", str(tree), "-o", str(output)]
    return launch + train + [word for change in changes for word in ("--set", change)]


def environment() -> dict[str, str]:
    """Return an environment with one thread per process and only the loopback interface."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def run(
    words: list[str], *, expect: int = 0, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env=environment(), timeout=timeout_s
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def logged(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def assert_same_weights(first: Path, second: Path) -> None:
    """Compare two files of weights bit by bit, and their entries but for the date."""
    ours, our_entry = read_weights(first)
    theirs, their_entry = read_weights(second)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    assert our_entry.metrics == their_entry.metrics
