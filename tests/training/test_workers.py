"""`atrous train` ends when a worker process cannot read a sample."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("trees", Path(__file__).with_name("trees.py"))
trees = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(trees)


@pytest.mark.timeout(300)
def test_a_damaged_mask_ends_the_command_with_one_line(tmp_path):
    """The workers ignore SIGTERM; once, the command printed its error and then hung at exit."""
    tree = trees.write_tree(tmp_path / "tree")
    (tree / "labels/p1.png").write_bytes(b"no image")
    words = trees.command(
        tree, tmp_path / "run", "data.workers=1", "optimizer.batch_size=1",
        "optimizer.iterations=40",
    )  # fmt: skip
    done = trees.run(words, expect=1, timeout_s=200)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {tree}/labels/p1.png is not an image in a format that")
