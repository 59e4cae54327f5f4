"""Runs of the real command that are killed, interrupted and out of disk end as unbroken ones.

Each part of a run is a fork of a process that has loaded torch. The long version, `pytest -m slow
tests/training/test_kills.py`, writes docs/proofs/training_kills.md.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import platform
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

SPEC = importlib.util.spec_from_file_location("trees", Path(__file__).with_name("trees.py"))
trees = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(trees)

ITERATIONS = 14
CHANGES = (
    f"optimizer.iterations={ITERATIONS}", "output.checkpoint_every=2", "output.evaluate_every=6",
    "optimizer.batch_size=2", "optimizer.ema_decay=0.9", "data.workers=1",
)  # fmt: skip
# What `python -m atrous` does in a new process, in a fork of one that has loaded torch: each start
# of Python would load it again, for two seconds.
COMMAND = """
import os, resource, runpy, sys
output = os.open({stdout!r}, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(output, 1)
os.dup2(output, 2)
if {largest_file} is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({largest_file}, {largest_file}))
sys.argv = ["atrous", *{words!r}]
runpy.run_module("atrous", run_name="__main__")
"""
PROOF = Path(__file__).parents[2] / "docs/proofs/training_kills.md"
posix = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs the signals of POSIX")
pytestmark = [posix, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def server():
    """Where processes are forked from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["atrous.cli.train", "atrous.training.run"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in trees.environment().items():
            patch.setenv(name, value)
        yield context


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return trees.write_tree(tmp_path_factory.mktemp("kills") / "tree")


@pytest.fixture(scope="module")
def unbroken(server, tree):
    """Folder of a run that nothing happened to."""
    output = tree.parent / "unbroken"
    Broken(server, tree, output).finish()
    return output


class Broken:
    """A run that is started again and again."""

    def __init__(self, server, tree, output):
        self.server = server
        self.tree = tree
        self.output = output
        self.said = output.with_name(f"{output.name}.txt")

    def start(self, largest_file=None):
        words = trees.command(self.tree, self.output, *CHANGES)[3:]
        words += ["--resume"] * self.output.exists()
        code = COMMAND.format(stdout=str(self.said), largest_file=largest_file, words=words)
        run = self.server.Process(target=exec, args=(code, {"__name__": "command"}))
        run.start()
        return run

    def last(self):
        """Iteration of the last whole line of the log."""
        log = self.output / "log.jsonl"
        return max(0, log.read_text().count("\n")) if log.exists() else 0

    def kill_early(self, delay_s):
        """SIGKILL so long after the run's folder is there, mostly before its first checkpoint."""
        run = self.start()
        while not self.output.exists():
            assert run.is_alive()
            time.sleep(0.005)
        time.sleep(delay_s)
        run.kill()
        run.join()

    def kill_after(self, lines, delay_s=0.0):
        """SIGKILL some lines of the log later; False if the run ended before."""
        run = self.start()
        seen = None
        while run.is_alive():
            # The log is rewound when the run starts.
            if seen is None and (self.output / "checkpoint.pt").exists():
                seen = self.last()
            if seen is not None and self.last() >= seen + lines:
                time.sleep(delay_s)
                run.kill()
                run.join()
                return True
            time.sleep(0.005)
        assert run.exitcode == 0
        return False

    def kill_in_a_write(self):
        """SIGKILL while a checkpoint is being written over a former one."""
        whole = self.output / "checkpoint.pt"
        run = self.start()
        while run.is_alive():
            if not (whole.exists() and self.is_checkpoint_half_written()):
                time.sleep(0.0005)
                continue
            os.kill(run.pid, signal.SIGSTOP)  # look whether it was caught in time
            time.sleep(0.01)
            if self.is_checkpoint_half_written():
                run.kill()
                run.join()
                assert self.is_checkpoint_half_written()
                return
            os.kill(run.pid, signal.SIGCONT)
        raise AssertionError(f"no write was caught; status {run.exitcode}")

    def is_checkpoint_half_written(self):
        """Tell by the size: a third of a checkpoint is what a file of weights has."""
        whole = (self.output / "checkpoint.pt").stat().st_size
        with contextlib.suppress(FileNotFoundError):  # renamed in the meantime
            sizes = [path.stat().st_size for path in self.output.glob(".*.partial")]
            return any(0.4 * whole < size < whole for size in sizes)
        return False

    def finish(self):
        run = self.start()
        run.join()
        assert run.exitcode == 0, self.said.read_text()
        assert not [p for p in self.output.iterdir() if "partial" in p.name]


def checkpoint_of(folder):
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def assert_ended_alike(broken, unbroken):
    for name in ("small.safetensors", "best.safetensors"):
        trees.assert_same_weights(broken / name, unbroken / name)
    ours, theirs = checkpoint_of(broken), checkpoint_of(unbroken)
    for part in ("model", "average"):
        assert all(torch.equal(v, theirs[part][k]) for k, v in ours[part].items())
    momenta = [state["optimizer"]["state"][0]["momentum_buffer"] for state in (ours, theirs)]
    assert torch.equal(*momenta)
    changing = ("seconds_per_iteration", "data_wait")
    logs = [
        [{k: v for k, v in line.items() if k not in changing} for line in trees.logged(folder)]
        for folder in (broken, unbroken)
    ]
    assert logs[0] == logs[1]


def test_a_run_that_is_killed_again_and_again_ends_as_the_unbroken_one(
    server, tree, unbroken, tmp_path
):
    """Before its first checkpoint, after some steps, in a checkpoint's writing, and once more."""
    rng = random.Random(0)
    broken = Broken(server, tree, tmp_path / "broken")
    broken.kill_early(0.0)
    assert not (broken.output / "checkpoint.pt").exists()
    assert broken.kill_after(rng.randint(3, 4))
    broken.kill_in_a_write()
    assert checkpoint_of(broken.output)["iteration"] < ITERATIONS
    assert broken.kill_after(rng.randint(1, 2), rng.uniform(0, 0.1))
    broken.finish()
    assert_ended_alike(broken.output, unbroken)


def test_an_interrupted_run_out_of_disk_keeps_its_checkpoint(server, tree, unbroken, tmp_path):
    broken = Broken(server, tree, tmp_path / "broken")
    run = broken.start()
    while broken.last() < 2:
        assert run.is_alive()
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGINT)
    run.join()
    assert run.exitcode == 0
    said = broken.said.read_text().splitlines()
    assert f"continue with --resume -o {broken.output}" in said[-1]
    assert checkpoint_of(broken.output)["iteration"] == trees.logged(broken.output)[-1]["iteration"]

    before = (broken.output / "checkpoint.pt").read_bytes()
    run = broken.start(largest_file=2_000_000)  # a checkpoint is larger
    run.join()
    assert run.exitcode == 1
    (line,) = [text for text in broken.said.read_text().splitlines() if "Error" in text]
    assert line.startswith(f"Error: {broken.output}/checkpoint.pt could not be written (")
    assert line.endswith("; the last checkpoint is intact")
    assert (broken.output / "checkpoint.pt").read_bytes() == before
    assert not [p for p in broken.output.iterdir() if "partial" in p.name]
    broken.finish()
    assert_ended_alike(broken.output, unbroken)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_runs_killed_at_random_moments_end_as_the_unbroken_one(server, tree, unbroken, tmp_path):
    rng = random.Random(1)
    start, kills, writes, runs = time.monotonic(), 0, 0, 4
    for number in range(runs):
        broken = Broken(server, tree, tmp_path / str(number))
        broken.kill_early(rng.uniform(0, 1))
        kills += 1
        while broken.kill_after(rng.randint(1, 7), rng.uniform(0, 0.3)):
            kills += 1
            if rng.random() < 0.3 and checkpoint_of(broken.output)["iteration"] < ITERATIONS - 3:
                broken.kill_in_a_write()
                writes += 1
        broken.finish()
        assert_ended_alike(broken.output, unbroken)
    record_proof(runs, kills, writes, time.monotonic() - start)


def record_proof(runs, kills, writes, seconds):
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(
        command, cwd=PROOF.parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    text = PROOF.read_text("utf-8")
    row = f"| {commit or 'unknown'} | {platform.machine()} | {runs} | {kills + writes} | {writes} "
    PROOF.write_text(f"{text}{row}| {seconds:.0f} | bit-identical |\n", encoding="utf-8")
