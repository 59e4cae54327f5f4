"""Runs of the real command that are killed, interrupted and out of disk end as unbroken ones.

Slow because torch is loaded for every part of a run. The long version, `pytest -m slow
tests/training/test_kills.py`, writes docs/proofs/training_kills.md.
"""

from __future__ import annotations

import importlib.util
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
PROOF = Path(__file__).parents[2] / "docs/proofs/training_kills.md"
posix = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs the signals of POSIX")
pytestmark = [posix, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return trees.write_tree(tmp_path_factory.mktemp("kills") / "tree")


@pytest.fixture(scope="module")
def unbroken(tree):
    """Folder of a run that nothing happened to."""
    output = tree.parent / "unbroken"
    trees.run(trees.command(tree, output, *CHANGES))
    return output


class Broken:
    """A run that is started again and again."""

    def __init__(self, tree, output):
        self.tree = tree
        self.output = output

    def words(self):
        words = trees.command(self.tree, self.output, *CHANGES)
        return words + ["--resume"] * self.output.exists()

    def start(self, stdout=subprocess.DEVNULL):
        return subprocess.Popen(
            self.words(),
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
            env=trees.environment(),
        )

    def last(self):
        """Iteration of the last whole line of the log."""
        log = self.output / "log.jsonl"
        return max(0, log.read_text().count("\n")) if log.exists() else 0

    def kill_early(self, delay_s):
        """SIGKILL so long after the run's folder is there, mostly before its first checkpoint."""
        run = self.start()
        while not self.output.exists():
            assert run.poll() is None
            time.sleep(0.005)
        time.sleep(delay_s)
        run.kill()
        run.wait()

    def kill_after(self, lines, delay_s=0.0):
        """SIGKILL some lines of the log later; False if the run ended before."""
        run = self.start()
        seen = None
        while run.poll() is None:
            # The log is rewound when the run starts.
            if seen is None and (self.output / "checkpoint.pt").exists():
                seen = self.last()
            if seen is not None and self.last() >= seen + lines:
                time.sleep(delay_s)
                run.kill()
                run.wait()
                return True
            time.sleep(0.005)
        assert run.returncode == 0
        return False

    def kill_in_a_write(self):
        """SIGKILL while a checkpoint is being written over a former one."""
        partial, whole = self.output / "checkpoint.partial", self.output / "checkpoint.pt"
        run = self.start()
        while run.poll() is None:
            if not (whole.exists() and partial.exists()):
                time.sleep(0.0005)
                continue
            run.send_signal(signal.SIGSTOP)  # look whether it was caught in time
            time.sleep(0.01)
            if partial.exists() and partial.stat().st_size < whole.stat().st_size:
                run.kill()
                run.wait()
                assert partial.exists()
                return
            run.send_signal(signal.SIGCONT)
        raise AssertionError(f"no write was caught; status {run.returncode}")

    def finish(self):
        trees.run(self.words())
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


def test_a_run_that_is_killed_again_and_again_ends_as_the_unbroken_one(tree, unbroken, tmp_path):
    """Before its first checkpoint, after some steps, in a checkpoint's writing, and once more."""
    rng = random.Random(0)
    broken = Broken(tree, tmp_path / "broken")
    broken.kill_early(0.0)
    assert not (broken.output / "checkpoint.pt").exists()
    assert broken.kill_after(rng.randint(3, 4))
    broken.kill_in_a_write()
    assert checkpoint_of(broken.output)["iteration"] < ITERATIONS
    assert broken.kill_after(rng.randint(1, 2), rng.uniform(0, 0.1))
    broken.finish()
    assert_ended_alike(broken.output, unbroken)


def test_an_interrupted_run_out_of_disk_keeps_its_checkpoint(tree, unbroken, tmp_path):
    broken = Broken(tree, tmp_path / "broken")
    run = broken.start(subprocess.PIPE)
    while broken.last() < 2:
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate()
    assert run.returncode == 0
    assert f"go on with --resume -o {broken.output}" in said.splitlines()[-1]
    assert checkpoint_of(broken.output)["iteration"] == trees.logged(broken.output)[-1]["iteration"]

    before = (broken.output / "checkpoint.pt").read_bytes()
    # Files may not grow past 2 MB (sh counts blocks of 512 or 1024 bytes); a checkpoint is larger.
    limited = ["sh", "-c", 'ulimit -f 2000 && exec "$@"', "sh", *broken.words()]
    done = trees.run(limited, expect=1)
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"Error: {broken.output}/checkpoint.pt could not be written (")
    assert line.endswith("; the last one is intact")
    assert (broken.output / "checkpoint.pt").read_bytes() == before
    assert not [p for p in broken.output.iterdir() if "partial" in p.name]
    broken.finish()
    assert_ended_alike(broken.output, unbroken)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_runs_killed_at_random_moments_end_as_the_unbroken_one(tree, unbroken, tmp_path):
    rng = random.Random(1)
    start, kills, writes, runs = time.monotonic(), 0, 0, 4
    for number in range(runs):
        broken = Broken(tree, tmp_path / str(number))
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


HEAD = """# Training runs that were killed

Runs of `atrous train` on a small synthetic tree, killed with SIGKILL at random steps, at random
moments and in the middle of writing a checkpoint, and resumed until they ended. Weights, average,
momentum, best weights and log are compared bit by bit with those of a run that nothing happened to.
Made by

```bash
pytest -m slow tests/training/test_kills.py
```

| commit | machine | runs | kills | of them in a write | seconds | result |
|---|---|---|---|---|---|---|
"""


def record_proof(runs, kills, writes, seconds):
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(
        command, cwd=PROOF.parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    text = PROOF.read_text("utf-8") if PROOF.exists() else HEAD
    row = f"| {commit or 'unknown'} | {platform.machine()} | {runs} | {kills + writes} | {writes} "
    PROOF.write_text(f"{text}{row}| {seconds:.0f} | bit-identical |\n", encoding="utf-8")
