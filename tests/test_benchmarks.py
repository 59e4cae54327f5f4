"""The benchmarks run: each on its tiny case, with what is installed."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from .data.layouts import write_camvid

PHOTOS = Path(__file__).parents[2] / "shared/data/voc12_mini"
CAMVID = Path(__file__).parents[2] / "shared/data/camvid"
needs_photos = pytest.mark.skipif(
    not PHOTOS.is_dir() and importlib.util.find_spec("skimage") is None,
    reason="needs ../shared/data/voc12_mini or scikit-image, and neither is there",
)

QUICK = {
    "crf": ["--contenders=atrous,atrous pruned", "--params=readme", "--threads=1", "--no-plot"],
    "crf_tool": ["--workers=1"],
    "crf_share": ["--threads=1"],
}


@needs_photos
@pytest.mark.parametrize("name", QUICK)
def test_benchmark_runs_and_says_what_it_ran_on(root: Path, tmp_path: Path, name: str) -> None:
    result = tmp_path / "result.json"
    script = [sys.executable, str(root / "benchmarks" / f"{name}.py"), "--quick", *QUICK[name]]
    done = subprocess.run(
        [*script, f"--json={result}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(result.read_text())
    runs = content["runs"] if name == "crf" else [content["run"]]
    assert all({"commit", "versions", "cpu", "command"} <= set(run) for run in runs)
    assert len(content["rows"]) >= 2


def test_the_plot_is_drawn_from_the_results_that_are_kept(root: Path, tmp_path: Path) -> None:
    results = root / "benchmarks/results/crf.json"
    script = [sys.executable, str(root / "benchmarks/crf.py"), "--plot-only", f"--json={results}"]
    subprocess.run([*script, f"--plot={tmp_path / 'plot.png'}"], check=True)
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_the_crf_in_torch_agrees_and_is_timed(root: Path, tmp_path: Path) -> None:
    result = tmp_path / "torch.json"
    script = [sys.executable, str(root / "benchmarks/crf_torch.py"), "--size=60x45"]
    options = ["--batches=1,2", "--repeats=1", "--threads=1", f"--write={result}"]
    subprocess.run([*script, *options], check=True, capture_output=True)
    cases = json.loads(result.read_text())["cases"]
    assert [case["batch"] for case in cases] == [1, 2, 1, 2]
    assert all(case["max_difference"] < 1e-3 for case in cases)


@pytest.mark.slow
@pytest.mark.timeout(900)  # two processes that train EfficientNet-Lite0: minutes on two cores
def test_training_is_compared_with_a_plain_loop_of_the_same_loss(
    root: Path, tmp_path: Path
) -> None:
    write_camvid(tmp_path / "camvid")
    result = tmp_path / "result.json"
    script = [sys.executable, str(root / "benchmarks/training.py"), "--quick", f"--json={result}"]
    script += ["--contenders=plain PyTorch,atrous coarse"]
    done = subprocess.run(
        [*script, f"--data={tmp_path / 'camvid'}", "--set=init=none", "--set=data.workers=0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(result.read_text())
    assert [row["name"] for row in content["rows"]] == ["plain PyTorch", "atrous coarse"]
    assert content["rows"][0]["speedup"] == 1
    assert all(row["peak_mb"] > 50 and row["median_s"] > 0 for row in content["rows"])
    assert content["rows"][1]["utilisation"] is None
    assert "| plain PyTorch | " in done.stdout


def test_training_memory_compares_ways_of_the_same_step(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One way runs in a process of its own; the others here, or torch would load nine times."""
    result = tmp_path / "result.json"
    script = root / "benchmarks/training_memory.py"
    monkeypatch.syspath_prepend(script.parent)
    memory = importlib.import_module("training_memory")
    monkeypatch.setattr(sys, "argv", [str(script), "--quick", "--threads=1", f"--json={result}"])
    apart, found = memory.measure_apart, {}

    def measure_once(way: str, environment: dict[str, str]) -> Any:
        if way not in found:
            here = {"way": way, "quick": True, "device": "cpu", "precision": "float32"}
            found[way] = (
                memory.measure(argparse.Namespace(**here, threads=torch.get_num_threads()))
                if found
                else apart(way, environment)
            )
        return found[way]

    monkeypatch.setattr(memory, "measure_apart", measure_once)
    memory.main()
    rows = json.loads(result.read_text())["rows"]
    assert [row["way"] for row in rows][:2] == ["joint", "sequential"]
    assert all(row["median_s"] > 0 for row in rows)


@pytest.mark.skipif(not CAMVID.is_dir(), reason="needs ../shared/data/camvid, which is not there")
def test_input_speed_times_every_part(root: Path, tmp_path: Path) -> None:
    content = run_quick(root, tmp_path, "input_speed", str(CAMVID))
    assert all(
        row[part] > 0 for row in content["rows"] for part in ("decode_s", "augment_s", "step_s")
    )


def run_quick(root: Path, tmp_path: Path, name: str, *arguments: str) -> Any:
    result = tmp_path / "result.json"
    script = [sys.executable, str(root / "benchmarks" / f"{name}.py"), "--quick", *arguments]
    done = subprocess.run(
        [*script, f"--json={result}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(result.read_text())
