"""Compare the time of reading, augmenting and collating samples with that of a training step.

    python benchmarks/input_speed.py CAMVID          street-lite's settings, and ResNet-101's
    python benchmarks/input_speed.py CAMVID --quick  ResNet-18 at 65x65, as a test

CAMVID is a folder for `atrous train --data`. One process reads samples of the training stream and
times decoding (image and labels), augmentation and collation separately; then the network takes
steps on such batches. Times are CPU seconds of one thread, which other load affects less than wall
time. The share is the time of the input divided by that of the step; with one worker, a step waits
for data only if the share exceeds 1.
Writes benchmarks/results/input_speed.json.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import RESULTS, ROOT, describe_run, write_result
from torch.utils.data import default_collate

from atrous.data.transforms import TrainTransform
from atrous.models import build_network
from atrous.tables import to_table
from atrous.training import Recipe, load_recipe
from atrous.training.data import open_data
from atrous.training.distributed import ALONE
from atrous.training.optimizer import freeze, make_optimizer
from atrous.training.recipe import override
from atrous.training.step import Stepper


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--quick", action="store_true", help="a small network, few samples")
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--json", type=Path, default=RESULTS / "input_speed.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    samples, steps = (6, 1) if options.quick else (options.samples, options.steps)
    rows = []
    for name, config in configs(is_quick=options.quick).items():
        config = override(config, f"data.root='{options.data}'")
        row = measure(name, config, samples=samples, steps=steps)
        print(
            f"{name}: decode {row['decode_s'] * 1e3:.1f} ms, augment {row['augment_s'] * 1e3:.1f} "
            f"ms, collate {row['collate_s'] * 1e3:.2f} ms a sample; step {row['step_s']:.2f} s of "
            f"{row['samples_a_step']} samples; input is {row['share']:.1%} of it"
        )
        rows.append(row)
    write_result(options.json, {"run": describe_run(), "rows": rows})


def configs(*, is_quick: bool) -> dict[str, Recipe]:
    """Return the recipes to measure, with random initial weights."""
    street = override(load_recipe(ROOT / "recipes/street_lite.toml"), "init=none")
    paper = Recipe("paper")  # the defaults: ResNet-101, ASPP, 321x321
    paper = override(override(paper, "optimizer.accumulate=1"), "scales=[1.0, 0.75, 0.5]")
    if is_quick:
        small = override(override(paper, "augment.crop_hw=[65, 65]"), "scales=[1.0]")
        return {
            "resnet18 65x65": override(small, "network.name=deeplabv2_resnet18"),
            "efficientnet 65x65": override(small, "network.name=deeplabv2_efficientnet_lite0"),
        }
    single = override(paper, "scales=[1.0]")
    return {
        "street-lite 321x401": street,
        "ResNet-101 321x321, one scale": single,
        "ResNet-101 321x321, scales 1, 0.75, 0.5": paper,
    }


def measure(name: str, config: Recipe, *, samples: int, steps: int) -> dict[str, Any]:
    dataset, _ = open_data(config)
    augment = config.augment
    transform = TrainTransform(config.preprocess, augment.crop_hw, augment.scales, augment.mirror)
    batch_size = config.optimizer.batch_size
    decode, change, ready = [], [], []
    for position in range(samples + 1):
        start = time.process_time()
        sample = dataset[position % len(dataset)]
        read = time.process_time()
        rng = np.random.default_rng([0, position])
        ready.append(transform(sample.image, sample.labels, rng))
        decode.append(read - start)
        change.append(time.process_time() - read)
    start = time.process_time()
    batches = [
        default_collate(ready[i : i + batch_size])
        for i in range(0, samples - batch_size + 1, batch_size)
    ]
    collate_s = (time.process_time() - start) / (len(batches) * batch_size)
    step_s = time_step(config, batches, dataset.label_set.num_classes, steps=steps)
    # The first sample includes the time of lazy imports.
    decode_s, augment_s = statistics.median(decode[1:]), statistics.median(change[1:])
    samples_a_step = batch_size * config.optimizer.accumulate
    return {
        "name": name,
        "crop_hw": list(augment.crop_hw),
        "network": to_table(config.network),
        "scales": config.scales,
        "samples_a_step": samples_a_step,
        "decode_s": decode_s,
        "augment_s": augment_s,
        "collate_s": collate_s,
        "step_s": step_s,
        "share": samples_a_step * (decode_s + augment_s + collate_s) / step_s,
    }


def time_step(config: Recipe, batches: list[Any], num_classes: int, *, steps: int) -> float:
    model = build_network(config.network_for(num_classes), scales=config.scales)
    model.to(memory_format=torch.channels_last)  # pyright: ignore
    frozen = freeze(model, config.optimizer)
    stepper = Stepper(
        model,
        make_optimizer(model, config.optimizer),
        config,
        frozen_modules=frozen,
        class_weights=None,
        device=torch.device("cpu"),
        processes=ALONE,
    )
    stream = itertools.cycle(batches)
    seconds = []
    for number in range(steps + 1):
        start = time.process_time()
        stepper.step(stream, number)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
