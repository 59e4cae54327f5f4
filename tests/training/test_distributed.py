"""Two processes on loopback do what one does: same weights, one voice, one end.

Slow because torch is loaded in every process that is started.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from atrous.models import build_network
from atrous.training import load_recipe, train
from atrous.training.step import share_batch
from atrous.weights.checkpoint import read_weights

pytestmark = [pytest.mark.timeout(1800), pytest.mark.usefixtures("narrow_resnet18")]


def load(name):
    """Import a module that lies beside this one."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


trees, two = load("trees"), load("two_processes")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return trees.write_tree(tmp_path_factory.mktemp("distributed") / "tree")


@pytest.fixture(scope="module")
def pair(tree, tmp_path_factory):
    """Folder with a run of two processes for each case."""
    output = tmp_path_factory.mktemp("pair")
    script = str(Path(__file__).with_name("two_processes.py"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    launch += ["--master-addr=127.0.0.1", f"--master-port={trees.free_port()}"]
    trees.run([*launch, script, str(tree), str(output)])
    return output


@pytest.mark.parametrize("case", two.CASES)
def test_two_processes_give_the_weights_of_one(case, tree, pair, tmp_path):
    config = two.config_of(case, tree)
    path = train(config, output=tmp_path, say=lambda _: None)
    ours, entry = read_weights(path)
    theirs, their_entry = read_weights(pair / case / "small.safetensors")
    assert ours.keys() == theirs.keys()
    torch.manual_seed(config.seed)
    start = build_network(config.network_for(2), scales=config.scales).state_dict()
    for part in ("backbone.", "head.", "learned_upsampling."):
        names = [n for n in ours if n.startswith(part) and not torch.equal(ours[n], start[n])]
        if names:
            moved = torch.cat([(ours[n] - start[n]).ravel() for n in names]).norm()
            error = torch.cat([(ours[n] - theirs[n]).ravel() for n in names]).norm()
            # Sums in another order, and weights that round to 2^-24 of themselves. A mean of means
            # instead of the mean over all known pixels is off by 0.15 and 0.06 of the movement.
            assert error < 1e-3 * moved, part
        else:
            assert part == "learned_upsampling."
    assert entry.metrics == their_entry.metrics
    losses = [line["loss"] for line in trees.logged(tmp_path)[:2]]
    assert [line["loss"] for line in trees.logged(pair / case)[:2]] == pytest.approx(losses, 1e-4)


@pytest.mark.parametrize("case", two.CASES)
def test_the_first_process_alone_writes(case, pair):
    assert sorted(p.name for p in (pair / case).iterdir()) == [
        "best.safetensors", "checkpoint.pt", "environment.json", "evaluation.json",
        "files.json", "log.jsonl", "recipe.toml", "report.html", "small.safetensors",
    ]  # fmt: skip
    assert [line["iteration"] for line in trees.logged(pair / case)] == [1, 2, 2]


def test_an_error_of_one_process_ends_all_and_is_said_once(tmp_path):
    tree = trees.write_tree(tmp_path / "tree")
    (tree / "images/p3.png").write_bytes(b"no picture")
    done = trees.run(trees.command(tree, tmp_path / "run", processes=2), expect=1)
    said = done.stdout + done.stderr
    assert said.count("p3.png") == 1, said
    assert "Error: process" in said or "Error: " in said
    assert 'File "' not in said.split("elastic")[0]


def test_sigterm_stops_all_at_one_step_and_one_process_can_go_on(tree, tmp_path):
    words = trees.command(tree, tmp_path / "broken", "optimizer.iterations=40", processes=2)
    run = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=trees.environment()
    )
    while not (tmp_path / "broken/log.jsonl").exists():
        assert run.poll() is None
        time.sleep(0.05)
    os.kill(run.pid, signal.SIGTERM)
    said, _ = run.communicate()
    assert said.count("stopped after iteration") == 1, said
    stopped = torch.load(tmp_path / "broken/checkpoint.pt", weights_only=True)["iteration"]
    assert 0 < stopped < 40
    # The position in the data does not depend on how many processes read it: one goes on alone.
    config = load_recipe(tree.parent / "small.toml")
    signals = [signal.SIGTERM]  # a second one would interrupt at once
    train(
        dataclasses.replace(
            config,
            data=dataclasses.replace(config.data, root=str(tree)),
            optimizer=dataclasses.replace(config.optimizer, iterations=40),
        ),
        output=tmp_path / "broken",
        resume=True,
        say=lambda _: None,
        progress=lambda _: os.kill(os.getpid(), signals.pop()) if signals else None,
    )
    assert stopped < trees.logged(tmp_path / "broken")[-1]["iteration"] < 40


def test_what_cannot_be_shared_is_refused():
    config = two.config_of("divided batches", Path("nowhere"))
    assert share_batch(config, 2) == (2, 1)
    assert share_batch(two.config_of("whole batches dealt out", Path("nowhere")), 2) == (1, 2)
    with pytest.raises(
        ValueError, match="batch_size = 4 nor optimizer.accumulate = 1 is divisible"
    ):
        share_batch(config, 3)
    with pytest.raises(
        ValueError, match="sync_bn divides each batch, but optimizer.batch_size = 4"
    ):
        share_batch(two.config_of("synced batch norms", Path("nowhere")), 3)
