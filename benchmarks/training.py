"""Compare the training loop with a plain PyTorch loop: speed, peak memory, val mIoU.

    python benchmarks/training.py --data CAMVID

Each contender runs in its own process. They alternate in blocks of steps, so that a slow phase of
the machine affects all of them. Network, initial weights, loss, schedule, number of steps and data
are the same, and the benchmark asserts that the networks start with the same loss. `atrous coarse`
takes most of the steps at output stride 16, as the recipes of street-lite do. With a GPU:

    python benchmarks/training.py --data CAMVID --recipe recipes/camvid_resnet101.toml --device cuda
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import RESULTS, ROOT, describe_run, write_result

CONTENDERS = ("plain PyTorch", "atrous", "atrous coarse")
COARSE_SHARE = 0.8
LOSS_TOLERANCE = 1e-3  # relative, between two orders of float32 sums


def main() -> None:
    options = parse()
    if options.worker is not None:
        work(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        workers = {name: Worker(name, options, Path(folder)) for name in options.contenders}
        try:
            rows = compare(workers, options)
        finally:
            for worker in workers.values():
                worker.process.kill()
                worker.process.wait()
    first = next(iter(workers.values())).facts
    result = {
        "run": describe_run(),
        "recipe": options.recipe.name,
        "device": first["device"],
        "threads": first["threads"],
        "iterations": options.iterations,
        "images_per_iteration": first["images"],
        "gmac_per_image": first["gmac"],
        "matmul_tflops": matmul_rate(workers),
        "rows": rows,
    }
    print_table(result)
    write_result(options.json, result)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of the recipe's data set")
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes/street_lite_coarse.toml")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--blocks", type=int, default=6, help="turns that the iterations come in")
    parser.add_argument("--scales", default="1.0,0.75,0.5", help="input scales, fused")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", default="241x321", help="rows x columns")
    parser.add_argument("--val-images", type=int, help="score so many, evenly spread; default: all")
    parser.add_argument("--contenders", type=lambda text: text.split(","), default=CONTENDERS)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the recipe")
    parser.add_argument("--quick", action="store_true", help="two small steps, to see that it runs")
    parser.add_argument("--json", type=Path, default=RESULTS / "training.json")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.iterations, options.blocks, options.batch = 2, 2, 1
        options.crop, options.val_images = "65x65", 1
    strange = set(options.contenders) - set(CONTENDERS)
    if strange:
        parser.error(f"no contender is called {min(strange)!r}; there are {', '.join(CONTENDERS)}")
    return options


class Worker:
    """A contender in its own process, controlled through lines of text."""

    def __init__(self, name: str, options: argparse.Namespace, folder: Path) -> None:
        self.name = name
        command = [sys.executable, __file__, *sys.argv[1:], f"--worker={name}"]
        folder = folder / name.replace(" ", "-")
        folder.mkdir()
        self.process = subprocess.Popen(
            [*command, f"--folder={folder}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = self.read()
        self.seconds: list[float] = []  # of each iteration, as are the seconds of the CPU
        self.cpu_seconds: list[float] = []
        self.losses: list[float] = []

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} has failed; its error is printed above")
        return json.loads(line)

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.read()


def compare(workers: dict[str, Worker], options: argparse.Namespace) -> list[dict[str, Any]]:
    expected = next(iter(workers.values())).facts["loss"]
    for worker in workers.values():
        difference = abs(worker.facts["loss"] - expected) / expected
        assert difference < LOSS_TOLERANCE, f"{worker.name} differs by {difference}"
    sizes = [
        options.iterations * (i + 1) // options.blocks - options.iterations * i // options.blocks
        for i in range(options.blocks)
    ]
    for block, size in enumerate(sizes):
        for worker in workers.values():
            answer = worker.ask(steps=size)
            worker.seconds += answer["seconds"]
            worker.cpu_seconds += answer["cpu_seconds"]
            worker.losses += answer["losses"]
            median = statistics.median(answer["seconds"])
            print(f"block {block + 1}/{len(sizes)}  {worker.name:14} {median:.3f} s/iteration")
    return [row(worker, workers) for worker in workers.values()]


def row(worker: Worker, workers: dict[str, Worker]) -> dict[str, Any]:
    answer = worker.ask(evaluate=True)
    facts = worker.facts
    # The first iterations fill caches and choose kernels.
    kept = {name: w.seconds[min(3, len(w.seconds) // 2) :] for name, w in workers.items()}
    median = statistics.median(kept[worker.name])
    base = statistics.median(next(iter(kept.values())))
    flops = 6e9 * facts["gmac"] * facts["images"]  # forward and backward, two operations a MAC
    return {
        "name": worker.name,
        "median_s": median,
        "min_s": min(kept[worker.name]),
        "max_s": max(kept[worker.name]),
        "median_cpu_s": statistics.median(worker.cpu_seconds),  # load moves it less
        "images_per_s": facts["images"] / median,
        "speedup": base / median,
        # Coarse steps do less arithmetic for the same scores: no utilisation is told for them.
        "utilisation": None
        if worker.name == "atrous coarse"
        else flops / median / matmul_rate(workers) / 1e12,
        "peak_mb": answer["peak_mb"],
        "last_loss": statistics.fmean(worker.losses[-20:]),
        "miou": answer["miou"],
        "val_images": answer["images"],
        "total_s": sum(worker.seconds),
    }


def matmul_rate(workers: dict[str, Worker]) -> float:
    """Return the best rate that any process measured, as the limit of the machine."""
    return max(worker.facts["matmul_tflops"] for worker in workers.values())


def print_table(result: dict[str, Any]) -> None:
    print(
        f"\n{result['recipe']} on {result['device']}, {result['threads']} thread(s), "
        f"{result['iterations']} iterations of {result['images_per_iteration']} images; "
        f"float32 matrix product {result['matmul_tflops']:.3g} TFLOP/s\n"
    )
    print("| loop | s/iteration | images/s | ratio | FLOP utilisation | peak memory | val mIoU |")
    print("|---|---|---|---|---|---|---|")
    for r in result["rows"]:
        share = "" if r["utilisation"] is None else f"{100 * r['utilisation']:.0f} %"
        print(
            f"| {r['name']} | {r['median_s']:.3f} | {r['images_per_s']:.2f} | {r['speedup']:.2f}x "
            f"| {share} | {r['peak_mb']:,.0f} MB | {r['miou']:.3f} |"
        )


# --- code that runs in a contender's process -----------------------------------------------------


def work(options: argparse.Namespace) -> None:
    import torch
    from training_plain import PlainLoop

    from atrous.training.process import keep_freed_memory
    from atrous.training.recipe import load_recipe, override
    from atrous.training.run import Run

    config = load_recipe(options.recipe)
    for assignment in assignments(options):
        config = override(config, assignment)
    matmul = matmul_tflops(torch.device(options.device))
    if options.worker == "plain PyTorch":
        loop: Any = PlainLoop(config, options.device)
        batches = loop.batches()
    else:
        if options.device == "cpu":
            keep_freed_memory()
        loop = Run(config, options.folder, device=options.device, say=lambda _: None)
        batches = loop.batches()
    summary = macs(loop.model, config)
    say(
        loss=first_loss(loop, config),
        gmac=summary / 1e9,
        images=config.optimizer.batch_size * config.optimizer.accumulate,
        matmul_tflops=matmul,
        threads=torch.get_num_threads(),
        device=device_name(loop.device),
    )
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("evaluate"):
            peak = peak_mb(loop.device)  # of training: before the evaluation adds to it
            say(peak_mb=peak, **score(loop, config, options))
        else:
            say(**take_steps(loop, batches, request["steps"]))


def take_steps(loop: Any, batches: Any, count: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {"seconds": [], "cpu_seconds": [], "losses": []}
    for _ in range(count):
        start, cpu_start = time.perf_counter(), time.process_time()
        taken["losses"].append(loop.step(batches))  # reads the loss back: the device has finished
        taken["seconds"].append(time.perf_counter() - start)
        taken["cpu_seconds"].append(time.process_time() - cpu_start)
    return taken


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def assignments(options: argparse.Namespace) -> list[str]:
    rows, columns = options.crop.split("x")
    coarse = 0
    if options.worker == "atrous coarse":
        coarse = int(COARSE_SHARE * options.iterations)
    return [
        f"data.root={json.dumps(options.data)}",
        f"augment.crop_hw=[{rows},{columns}]",
        f"scales=[{options.scales}]",
        "loss.coarse_iterations=0",
        f"optimizer.iterations={options.iterations}",
        f"loss.coarse_iterations={coarse}",
        "loss.class_weight_power=0.0",
        f"optimizer.batch_size={options.batch}",
        "optimizer.accumulate=1",
        "optimizer.ema_decay=0.0",
        f"optimizer.warmup_iterations={min(30, options.iterations // 4)}",
        *options.set,
    ]


def first_loss(loop: Any, config: Any) -> float:
    """Return the loss of the first val images at the initial weights, in evaluation mode."""
    import numpy as np
    import torch

    from atrous.data.transforms import TrainTransform
    from atrous.training.losses import multiscale_losses

    transform = TrainTransform(
        config.preprocess, config.augment.crop_hw, (1.0,), False, config.network.align_corners
    )
    rng = np.random.default_rng(0)
    pairs = [transform(s.image, s.labels, rng) for s in loop.val_set[:2]]
    images, labels = (torch.stack(items).to(loop.device) for items in zip(*pairs, strict=True))
    loop.model.eval()
    with torch.no_grad():
        losses = multiscale_losses(
            loop.model.forward_scales(images),
            labels,
            align_corners=config.network.align_corners,
            at_pixels=config.loss.at_pixels,
            upsample=loop.model.upsample,
        )
    return torch.stack(losses).sum().item()


def score(loop: Any, config: Any, options: argparse.Namespace) -> dict[str, Any]:
    import atrous
    from atrous.doctor.examination import spread
    from atrous.weights.catalog import Entry

    entry = Entry(
        name="benchmark",
        options=loop.model.options,
        label_set=loop.train_set.label_set,
        preprocess=config.preprocess,
        licence="unknown",
        source="benchmark",
    )
    loop.model.set_output_stride(config.network.output_stride)
    segmenter = atrous.Segmenter((loop.model.eval(), entry), device=options.device)
    val_set = loop.val_set
    places = spread(len(val_set), options.val_images or len(val_set))
    report = atrous.evaluate(segmenter, val_set.with_pairs([val_set.pairs[i] for i in places]))
    return {"miou": report.miou, "images": report.images}


def macs(model: Any, config: Any) -> int:
    from atrous.describe.summary import summarise

    return summarise(model, config.augment.crop_hw).macs


def matmul_tflops(device: Any) -> float:
    """Measure the device's matrix product in float32; on CUDA in TF32, as convolutions use it."""
    import torch

    size = 1024 if device.type == "cpu" else 8192
    precision = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        start = time.perf_counter()
        a @ b
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        best = min(best, time.perf_counter() - start)
    torch.set_float32_matmul_precision(precision)
    return 2 * size**3 / best / 1e12


def peak_mb(device: Any) -> float:
    """Return the peak memory of training: of the GPU, or of this process on a CPU."""
    import resource

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1024**2
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def device_name(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


if __name__ == "__main__":
    main()
