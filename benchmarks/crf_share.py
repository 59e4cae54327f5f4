"""Share of the dense CRF in the time of a network's forward pass, on the same threads.

    python benchmarks/crf_share.py            ResNet-101 at 513x513x21, street-lite at 360x480x11
    python benchmarks/crf_share.py --quick    ResNet-18 at 65x65, to see that it runs

The forward pass is eager float32 at one scale. Writes benchmarks/results/crf_share.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from crf_contenders import (
    OURS,
    PARAMS,
    PRUNED,
    PYDENSECRF,
    check_agreement,
    compare,
    is_installed,
    make,
)
from crf_inputs import Case, make_inputs, photo_source
from measuring import RESULTS, describe_run, time_in_turns, write_result

import atrous
from atrous.crf import CRFParams

# Network -> input: street-lite has CamVid's size and classes
CASES = {
    "deeplabv2_resnet101": Case(513, 513, 21, 4),
    "street-lite": Case(480, 360, 11, 4),
}
QUICK = {"deeplabv2_resnet18": Case(65, 65, 21, 4)}
FORWARD = "forward"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network, two runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", type=Path, default=RESULTS / "crf_share.json")
    options = parser.parse_args()
    cases, runs = (QUICK, 2) if options.quick else (CASES, options.runs)
    torch.set_num_threads(options.threads)
    result: dict[str, Any] = {"run": describe_run(), "photos": photo_source(), "rows": []}
    for network, case in cases.items():
        result["rows"] += measure(network, case, threads=options.threads, runs=runs)
    write_result(options.json, result)


def measure(network: str, case: Case, *, threads: int, runs: int) -> list[dict[str, Any]]:
    forward, params = open_network(network, case)
    scores, image = make_inputs(case)
    names = [name for name in (OURS, PRUNED, PYDENSECRF) if is_installed(name)]
    calls: dict[str, Callable[[], Any]] = {FORWARD: forward}
    for name in names:
        calls[name] = partial(make(name, params, threads=threads), scores, image)
    forward()
    found = {name: calls[name]() for name in names}
    for name in names:
        check_agreement(name, compare(found[name], found[OURS]))
    times = time_in_turns(calls, runs=runs, budget_s=120)
    print(
        f"\n{network}, {case.name}, {threads} threads; forward {times[FORWARD]['median_s']:.3f} s"
    )
    rows = []
    for name in names:
        share = times[name]["median_s"] / times[FORWARD]["median_s"]
        print(f"  {name:<14} {times[name]['median_s']:.4f} s, {share:.1%} of the forward pass")
        rows.append(
            {
                "network": network,
                "case": case.name,
                "threads": threads,
                "contender": name,
                "forward": times[FORWARD],
                "crf": times[name],
                "share": share,
            }
        )
    return rows


def open_network(network: str, case: Case) -> tuple[Callable[[], Any], CRFParams]:
    """Give the forward pass on a random image, and the parameters of the network's CRF."""
    params = PARAMS["deeplab"]
    if network.startswith("deeplabv2"):
        model = atrous.create_model(network, num_classes=case.classes)  # weights cost no time
    else:
        model, entry = atrous.load_model(network)
        params = CRFParams(**entry.crf) if entry.crf else params
    model.eval()
    image = torch.zeros(1, 3, case.height, case.width)

    def forward() -> Any:
        with torch.inference_mode():
            return model(image)

    return forward, params


if __name__ == "__main__":
    main()
