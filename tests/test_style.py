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


def test_files_stay_under_400_lines(root: Path) -> None:
    long = {
        str(path.relative_to(root)): lines
        for folder in ("src", "tests")
        for path in (root / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) >= 400
    }
    assert not long, f"split these: {long}"
