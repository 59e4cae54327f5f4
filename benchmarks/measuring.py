"""What the benchmarks share: timing in turns, the machine they ran on, peak memory."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

Key = TypeVar("Key")

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("atrous", "numpy", "torch", "pydensecrf2")
CPU_FLAGS = ("fma", "avx2", "avx512f")


def time_in_turns(
    contenders: Mapping[Key, Callable[[], Any]], *, runs: int, budget_s: float
) -> dict[Key, dict[str, Any]]:
    """Time functions by turns, so that a slow spell of the machine meets them all.

    Args:
        contenders: Name -> function; each has been called once already.
        runs: Times each is called.
        budget_s: A contender that has taken this long is not called again.

    Returns:
        Name -> median, least and most seconds, and the number of runs.
    """
    seconds: dict[Key, list[float]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, function in contenders.items():
            if sum(seconds[name]) < budget_s:
                start = time.perf_counter()
                function()
                seconds[name].append(time.perf_counter() - start)
    return {
        name: {
            "median_s": statistics.median(taken),
            "min_s": min(taken),
            "max_s": max(taken),
            "runs": len(taken),
        }
        for name, taken in seconds.items()
    }


def describe_run() -> dict[str, Any]:
    """Say with what and on what a benchmark ran."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short=12", "HEAD"),
        "has_local_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "command": " ".join(["python", *sys.argv]),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "cpu": _cpu(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def write_result(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


def peak_memory_mb(function: Callable[[], Any]) -> float:
    """Give the most memory that this process held during a call, less what it held before."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        import resource

        unit = 1024**2 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        function()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit
    clear.write_text("5")  # the peak starts from what is held now
    before = _status_mb("VmRSS")
    function()
    return _status_mb("VmHWM") - before


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def _git(*args: str) -> str:
    done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    about = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    flags = about.get("flags", "").split()
    return {
        "name": about.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "flags": [flag for flag in CPU_FLAGS if flag in flags],
    }
