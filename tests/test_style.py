"""Lint, formatting and types are part of the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def check(command: list[str], root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


@pytest.mark.timeout(300)  # alone it takes 15 s; beside other tests on a small machine, more
def test_types_hold(root: Path) -> None:
    check(["pyright", "--pythonpath", sys.executable], root)


def test_lint_is_clean(root: Path) -> None:
    check(["ruff", "check", "--no-cache"], root)


def test_format_is_ruffs(root: Path) -> None:
    check(["ruff", "format", "--check", "--no-cache"], root)
