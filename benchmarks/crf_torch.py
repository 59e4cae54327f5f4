"""Time `refine_torch`: 500x375x21, 10 iterations, batch 1 and 16, on any torch device.

    python benchmarks/crf_torch.py --device cuda
    python benchmarks/crf_torch.py --device cpu --size 60x45 --batches 1,2 --repeats 2

First it asserts that the device's result equals the CPU's: the compiled kernel's where it is built,
else torch's. Then it times whole calls (lattices and iterations, tensors already on the device),
after a warm-up, synchronised. Pictures are crops of the bundled photo; scores come from a seeded
generator at 1/8 of the size. The JSON goes to `benchmarks/results/` if `--write` is given.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import atrous
from atrous.crf import CRFParams
from atrous_crf.torch_lattice import crf_lattices, refine_torch, triton_kernels

ROOT = Path(__file__).resolve().parents[1]
PARAMETERS = {
    "deeplab": CRFParams(10, 3, 1, 4, 67, 3),
    "readme": CRFParams(5, 3, 3, 10, 80, 13),
}
TOLERANCE = 2e-3


def make_inputs(batch: int, size_wh: tuple[int, int], num_classes: int) -> tuple[Tensor, Tensor]:
    """Crop `batch` pictures from the bundled photo and draw smooth scores for them."""
    width, height = size_wh
    photo = Image.open(Path(atrous.__file__).parent / "demo" / "china.jpg").convert("RGB")
    generator = torch.Generator().manual_seed(0)
    images: list[np.ndarray[Any, Any]] = []
    for corner in torch.rand(batch, 2, generator=generator).tolist():
        left, top = corner[0] * photo.width / 4, corner[1] * photo.height / 4
        box = (left, top, left + photo.width * 0.75, top + photo.height * 0.75)
        images.append(np.array(photo.resize(size_wh, Image.Resampling.BILINEAR, box=box)))
    scores = 4 * torch.randn(
        batch, num_classes, height // 8 + 2, width // 8 + 2, generator=generator
    )
    scores[:, 4:] -= 12  # four classes are alive, as in a photo of Pascal VOC
    logits = F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=True)
    return logits.softmax(1), torch.from_numpy(np.stack(images))


def reference(probabilities: Tensor, image: Tensor, params: CRFParams) -> tuple[str, Tensor]:
    try:
        from atrous.crf import DenseCRF
    except ImportError:
        return "torch on the CPU", refine_torch(probabilities, image, params)
    refined = DenseCRF(params).refine(probabilities.numpy(), image.numpy())
    return "compiled CPU kernel", torch.from_numpy(np.array(refined))


def synchronise(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def time_calls(call: Any, device: torch.device, repeats: int) -> list[float]:
    seconds: list[float] = []
    for repeat in range(repeats + 2):  # two to warm up: Triton compiles in the first
        synchronise(device)
        start = time.perf_counter()
        call()
        synchronise(device)
        if repeat >= 2:
            seconds.append(time.perf_counter() - start)
    return seconds


def measure(name: str, options: argparse.Namespace, batch: int) -> dict[str, Any]:
    params, device = PARAMETERS[name], torch.device(options.device)
    size_wh = tuple(int(number) for number in options.size.split("x"))
    on_cpu = make_inputs(batch, (size_wh[0], size_wh[1]), options.classes)
    probabilities, images = (tensor.to(device) for tensor in on_cpu)

    source, expected = reference(on_cpu[0][0], on_cpu[1][0], params)
    refined = refine_torch(probabilities, images, params)[0].cpu()
    difference = (refined - expected).abs().max().item()
    assert difference <= TOLERANCE, f"{name}: {difference} from {source}"

    seconds = time_calls(
        lambda: refine_torch(probabilities, images, params), device, options.repeats
    )
    build = time_calls(
        lambda: crf_lattices(images, params, accuracy="lattice", dtype=torch.float32),
        device,
        options.repeats,
    )
    return {
        "parameters": name,
        "iterations": params.iterations,
        "size": options.size,
        "classes": options.classes,
        "batch": batch,
        "ms_per_image": 1e3 * statistics.median(seconds) / batch,
        "ms_per_image_min": 1e3 * min(seconds) / batch,
        "ms_per_image_max": 1e3 * max(seconds) / batch,
        "lattices_ms_per_image": 1e3 * statistics.median(build) / batch,
        "max_difference": difference,
        "compared_with": source,
    }


def describe_run(device: torch.device) -> dict[str, Any]:
    git = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    is_cuda = device.type == "cuda"
    kernels = triton_kernels(torch.empty(1, device=device))
    return {
        "commit": done.stdout.strip(),
        "device": torch.cuda.get_device_name(device) if is_cuda else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "kernels": "torch" if kernels is None else "triton",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--size", default="500x375", help="width x height")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, help="of the CPU; default: torch's choice")
    parser.add_argument("--write", type=Path, help="the JSON file to write")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    results = describe_run(torch.device(options.device))
    results["cases"] = []
    for name in PARAMETERS:
        for batch in (int(number) for number in options.batches.split(",")):
            results["cases"].append(measure(name, options, batch))
            print(json.dumps(results["cases"][-1]))
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
