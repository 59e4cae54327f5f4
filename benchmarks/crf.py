"""Time and memory of the dense CRF beside its rivals, after checking that they agree.

    python benchmarks/crf.py                  everything (an hour with pydensecrf)
    python benchmarks/crf.py --quick          a tiny case, to see that it runs
    python benchmarks/crf.py --cases 500x375x21 --params deeplab --live 1,2,4
    python benchmarks/crf.py --add --cases 4000x3000x2 --contenders atrous,pydensecrf --budget 300
    python benchmarks/crf.py --plot-only      the plot again, from the JSON file

Writes benchmarks/results/crf.json and docs/images/crf_benchmark.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from crf_contenders import (
    NAMES,
    OURS,
    PARAMS,
    PRUNED,
    PYDENSECRF,
    check_agreement,
    compare,
    is_installed,
    make,
    measure_memory,
)
from crf_inputs import CASES, QUICK, Case, digest, make_inputs, photo_source
from measuring import RESULTS, ROOT, describe_run, time_in_turns, write_result

PLOT = ROOT / "docs" / "images" / "crf_benchmark.png"
RIVAL = "#9a6700"
TITLES = {"deeplab": "DeepLab v2's parameters", "readme": "parameters of pydensecrf's page"}
# What the plot shows: contender and threads -> label and colour.
SHOWN = {
    (OURS, 1): ("one thread", "#8fd19e"),
    (OURS, 2): ("two threads", "#1a7f37"),
    (PRUNED, 2): ("two threads, pruned", "#0969da"),
}


def main() -> None:
    options = parse()
    if options.memory_of:
        name, params, threads, scores, image = options.memory_of
        taken = measure_memory(name, params, int(threads), scores_file=scores, image_file=image)
        print(json.dumps(taken))
        return
    if not options.plot_only:
        cases = [QUICK] if options.quick else [CASES[name] for name in options.cases]
        result: dict[str, Any] = {"runs": [], "photos": photo_source(), "rows": []}
        if options.add and options.json.exists():
            result = json.loads(options.json.read_text(encoding="utf-8"))
        run = len(result["runs"])
        result["runs"].append(describe_run())
        for case in (case.with_live(factor) for case in cases for factor in options.live):
            for params in options.params:
                rows = [{"run": run, **row} for row in measure(case, params, options)]
                result["rows"] = [old for old in result["rows"] if not _replaced(old, rows)] + rows
                write_result(options.json, result)
    if options.plot:
        plot(json.loads(options.json.read_text(encoding="utf-8")), options.plot)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one tiny case, two runs")
    parser.add_argument("--cases", type=_words, default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--params", type=_words, default=list(PARAMS), help=", ".join(PARAMS))
    parser.add_argument("--threads", type=_numbers, default=[1, 2], help="1,2")
    parser.add_argument("--contenders", type=_words, default=list(NAMES), help=", ".join(NAMES))
    parser.add_argument("--live", type=_numbers, default=[1], help="times the live classes: 1,2,4")
    parser.add_argument("--runs", type=int, default=7, help="calls of each contender")
    parser.add_argument("--budget", type=float, default=60, help="seconds for each contender")
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    parser.add_argument("--add", action="store_true", help="keep other cases of the JSON file")
    parser.add_argument("--json", type=Path, default=RESULTS / "crf.json")
    parser.add_argument("--plot", type=Path, default=PLOT)
    parser.add_argument("--no-plot", action="store_const", const=None, dest="plot")
    parser.add_argument("--plot-only", action="store_true")
    parser.add_argument("--memory-of", nargs=5, help=argparse.SUPPRESS)  # in a new process
    options = parser.parse_args()
    if options.quick:
        options.runs, options.no_memory = 2, True
    asked = {*options.cases, *options.params, *options.contenders}
    if unknown := asked - {*CASES, *PARAMS, *NAMES}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if options.memory_of or options.plot_only:
        return options
    missing = [name for name in options.contenders if not is_installed(name)]
    if missing:
        print(f"not installed and left out: {', '.join(missing)} (pip install pydensecrf2==1.1)")
    options.contenders = [name for name in options.contenders if name not in missing]
    return options


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _replaced(old: dict[str, Any], rows: list[dict[str, Any]]) -> bool:
    return all(old[key] == rows[0][key] for key in ("case", "live", "params"))


def measure(case: Case, params: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Check and time all contenders on one case with one set of parameters."""
    scores, image = make_inputs(case)
    print(f"\n{case.name}, {case.live} live classes, parameters {params}")
    agreement = check(scores, image, params, options.contenders)
    functions = {
        (name, threads): partial(make(name, PARAMS[params], threads=threads), scores, image)
        for name in options.contenders
        for threads in ([1] if name == PYDENSECRF else options.threads)  # it knows one thread only
    }
    times = time_in_turns(functions, runs=options.runs, budget_s=options.budget)
    rows: list[dict[str, Any]] = []
    for name, threads in functions:
        row = {
            "case": case.name,
            "live": case.live,
            "params": params,
            "input": digest(scores, image),
            "contender": name,
            "threads": threads,
            **times[name, threads],
            **agreement[name],
        }
        if not options.no_memory:
            row |= memory(name, params, threads, scores, image)
        rows.append(row)
    tell(rows)
    return rows


def check(
    scores: np.ndarray, image: np.ndarray, params: str, names: list[str]
) -> dict[str, dict[str, float]]:
    """Compare each contender with the compiled kernel, and stop where one is too far off."""
    reference = make(OURS, PARAMS[params], threads=1)(scores, image)
    agreement = {}
    for name in names:
        agreement[name] = compare(make(name, PARAMS[params], threads=1)(scores, image), reference)
        check_agreement(name, agreement[name])
    return agreement


def memory(
    name: str, params: str, threads: int, scores: np.ndarray, image: np.ndarray
) -> dict[str, float]:
    """Run a contender in a process of its own and read its peak memory over the inputs."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/scores.npy", scores)
        np.save(f"{folder}/image.npy", image)
        files = f"{folder}/scores.npy", f"{folder}/image.npy"
        command = [sys.executable, __file__, "--memory-of", name, params, str(threads), *files]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def tell(rows: list[dict[str, Any]]) -> None:
    rival = [row["median_s"] for row in rows if row["contender"] == PYDENSECRF]
    for row in rows:
        parts = [
            f"  {row['contender']:<14} {row['threads']} threads",
            f"{row['median_s']:9.4f} s ({row['min_s']:.4f}-{row['max_s']:.4f}, {row['runs']} runs)",
            f"{rival[0] / row['median_s']:6.1f}x" if rival else "",
            f"max|dQ| {row['max_dq']:.1e} mean {row['mean_dq']:.1e}",
            f"labels {row['labels_equal']:.3%}",
            f"{row['peak_mb']:.0f} MB" if "peak_mb" in row else "",
        ]
        print("  ".join(part for part in parts if part), flush=True)


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw how many times as fast as pydensecrf each contender is, one panel a parameter set."""
    import matplotlib.pyplot as plt

    groups: dict[str, dict[str, dict[tuple[str, int], float]]] = {}
    lives = {case.name: case.live for case in (*CASES.values(), QUICK)}
    for row in sorted(result["rows"], key=lambda row: list(lives).index(row["case"])):
        if row["live"] == lives[row["case"]]:
            group = groups.setdefault(row["params"], {}).setdefault(row["case"], {})
            group[row["contender"], row["threads"]] = row["median_s"]
    groups = {
        params: {name: times for name, times in cases.items() if (PYDENSECRF, 1) in times}
        for params, cases in groups.items()
    }
    if not any(groups.values()):
        print("no plot: it shows the times beside pydensecrf's, which was not measured")
        return
    height = 0.7 + 0.75 * max(map(len, groups.values()))
    figure, axes = plt.subplots(
        1, len(groups), figsize=(4.8 * len(groups), height), squeeze=False, layout="constrained"
    )
    for axis, (params, cases) in zip(axes.flat, groups.items(), strict=True):
        draw_panel(axis, TITLES[params], cases)
    axes[0, -1].legend(fontsize=8, loc="lower right", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"wrote {path}")


def draw_panel(axis: Any, title: str, cases: dict[str, dict[tuple[str, int], float]]) -> None:
    thickness = 0.8 / len(SHOWN)
    for place, (contender, (label, colour)) in enumerate(SHOWN.items()):
        present = [(at, times) for at, times in enumerate(cases.values()) if contender in times]
        ratios = [times[PYDENSECRF, 1] / times[contender] for _, times in present]
        heights = [at + (place - (len(SHOWN) - 1) / 2) * thickness for at, _ in present]
        bars = axis.barh(heights, ratios, thickness * 0.92, label=label, color=colour)
        axis.bar_label(bars, [f" {ratio:.1f}x" for ratio in ratios], fontsize=7, padding=1)
    axis.axvline(1, color=RIVAL, linewidth=1)
    axis.text(1.2, -0.62, "pydensecrf", color=RIVAL, fontsize=8, va="center")
    axis.set_yticks(
        range(len(cases)), [f"{name}\n{t[PYDENSECRF, 1]:.3g} s" for name, t in cases.items()]
    )
    axis.set_ylim(len(cases) - 0.5, -0.8)
    axis.set_xlim(0, axis.get_xlim()[1] * 1.08)
    axis.set_xlabel("times as fast as pydensecrf, whose seconds stand on the left", fontsize=8)
    axis.set_title(title, fontsize=10)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
