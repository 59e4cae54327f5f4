"""Peak memory and time of a training step: joint or sequential scales, with checkpointed blocks.

    python benchmarks/training_memory.py                  ResNet-101, 321x321, scales 1, 0.75, 0.5
    python benchmarks/training_memory.py --device cuda
    python benchmarks/training_memory.py --quick          ResNet-18 at 65x65, as a test

Each variant runs in its own process; the variants alternate. On the CPU, memory is the peak
resident memory of the process minus its memory before the first step: gradients and momentum are
included, weights are not. The heap keeps some freed memory, so each variant also runs in an
untimed process whose heap returns every large block to the system immediately (glibc only); this
gives the memory of the tensors alone. On CUDA, memory is the peak of PyTorch's allocator. CPU
time is reported with wall time, because other load affects it less. tests/training/test_step.py
asserts that the variants give equal gradients; this benchmark compares their losses.
Writes benchmarks/results/training_memory.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measuring import RESULTS, describe_run, peak_memory_mb, write_result

WAYS: dict[str, dict[str, dict[str, Any]]] = {
    "joint": {},
    "sequential": {"loss": {"msc_backward": "sequential"}},
    "joint, checkpointed blocks": {"compute": {"grad_checkpointing": True}},
    "sequential, checkpointed blocks": {
        "loss": {"msc_backward": "sequential"},
        "compute": {"grad_checkpointing": True},
    },
}
CLASSES = 21
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": str(1 << 18)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network, one round")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2, help="processes per variant")
    parser.add_argument("--steps", type=int, default=3, help="timed steps per process")
    parser.add_argument("--json", type=Path, default=RESULTS / "training_memory.json")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure(options)))
        return
    needed = {way: measure_apart(way, GIVES_BACK) for way in WAYS}
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(1 if options.quick else options.rounds):
        for way in WAYS:
            found[way].append(measure_apart(way, {}))
    losses = {round(result["loss"], 4) for results in found.values() for result in results}
    assert len(losses) == 1 or options.precision != "float32", f"losses differ: {losses}"
    rows = [summarise(way, results, needed[way]["peak_mb"]) for way, results in found.items()]
    for row in rows:
        print(
            f"{row['way']:<32} {row['needed_mb']:6.0f} MB needed, {row['peak_mb']:6.0f} MB held"
            f"  {row['median_s']:.2f} s/step, {row['median_cpu_s']:.2f} s of CPU"
        )
    network, size = case(is_quick=options.quick)
    about = {
        "network": network, "size_hw": [size, size], "scales": [1.0, 0.75, 0.5], "batch": 1,
        "device": options.device, "precision": options.precision, "threads": options.threads,
    }  # fmt: skip
    write_result(options.json, {"run": describe_run(), "case": about, "rows": rows})


def case(*, is_quick: bool) -> tuple[str, int]:
    return ("deeplabv2_resnet18", 65) if is_quick else ("deeplabv2_resnet101", 321)


def measure_apart(way: str, environment: dict[str, str]) -> dict[str, Any]:
    """Measure one variant in a new process, with the same arguments."""
    words = [sys.executable, *sys.argv, "--way", way]
    everything = {**os.environ, **environment}
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=everything)
    return json.loads(done.stdout.splitlines()[-1])


def summarise(way: str, results: list[dict[str, Any]], needed_mb: float) -> dict[str, Any]:
    seconds = [s for result in results for s in result["seconds"]]
    return {
        "way": way,
        "needed_mb": needed_mb,
        "peak_mb": max(result["peak_mb"] for result in results),
        "steps": len(seconds),
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "median_cpu_s": statistics.median(s for result in results for s in result["cpu_seconds"]),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Take the steps of one variant in this process."""
    import torch

    torch.set_num_threads(options.threads)
    network, size = case(is_quick=options.quick)
    stepper, batches = make_step(network, size, options)
    is_cuda = options.device.startswith("cuda")
    seconds, cpu, losses = [], [], []

    def step() -> None:
        start, start_cpu = time.perf_counter(), time.process_time()
        losses.append(stepper.step(batches, len(losses)))
        if is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)

    def all_steps() -> None:
        for _ in range(1 + (1 if options.quick else options.steps)):  # the first one warms up
            step()

    peak_mb = peak_memory_mb(all_steps)
    if is_cuda:
        peak_mb = torch.cuda.max_memory_allocated() / 1e6
    return {
        "peak_mb": peak_mb, "loss": losses[0], "seconds": seconds[1:], "cpu_seconds": cpu[1:],
    }  # fmt: skip


def make_step(network: str, size: int, options: argparse.Namespace) -> tuple[Any, Any]:
    """Return a stepper as a run builds it, and an endless iterator of one random batch."""
    import itertools

    import torch

    from atrous.models import build_network
    from atrous.training.distributed import ALONE
    from atrous.training.optimizer import freeze, make_optimizer
    from atrous.training.recipe import recipe_from_table
    from atrous.training.step import Stepper

    way = WAYS[options.way]
    table = {
        "name": "benchmark",
        "model": {"name": network, "scales": (1.0, 0.75, 0.5)},
        "optimizer": {"accumulate": 1, "learning_rate": 1e-12},
        "loss": way.get("loss", {}),
        "compute": {**way.get("compute", {}), "precision": options.precision},
    }
    config = recipe_from_table(table)
    torch.manual_seed(0)
    model = build_network(config.network_for(CLASSES), scales=config.scales).to(options.device)
    model.to(memory_format=torch.channels_last)
    frozen = freeze(model, config.optimizer)
    stepper = Stepper(
        model,
        make_optimizer(model, config.optimizer),
        config,
        frozen_modules=frozen,
        class_weights=None,
        device=torch.device(options.device),
        processes=ALONE,
    )
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(1, 3, size, size, generator=generator)
    labels = torch.randint(0, CLASSES, (1, size, size), generator=generator)
    return stepper, itertools.repeat((images, labels))


if __name__ == "__main__":
    main()
