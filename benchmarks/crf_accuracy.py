"""How far the lattice is from the truth: labels and marginals beside the exact sum over all pairs.

    python benchmarks/crf_accuracy.py

The exact mean field takes every pair of pixels one by one, so the photos are small cuts. Writes
benchmarks/results/crf_accuracy.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from crf_contenders import PARAMS
from crf_inputs import Case, make_inputs, photo_source
from measuring import RESULTS, describe_run, write_result
from numpy.typing import NDArray

from atrous.crf import CRFParams, DenseCRF

CASE = Case(112, 84, 21, 4)
PHOTOS = 6


def exact_mean_field(
    probabilities: NDArray[np.float32], image: NDArray[np.uint8], params: CRFParams
) -> NDArray[np.float32]:
    """Compute what `DenseCRF.refine` approximates, pair by pair: (K, H, W)."""
    classes, height, width = probabilities.shape
    log_unary = np.log(np.clip(probabilities, 1e-5, 1)).reshape(classes, -1)
    y, x = np.divmod(np.arange(height * width, dtype=np.float32), width)
    xy = np.stack([x, y], axis=1)
    colours = image.reshape(-1, 3) / params.bilateral_rgb_std
    kernels = params.spatial_weight * normalised(xy / params.spatial_xy_std)
    bilateral = np.concatenate([xy / params.bilateral_xy_std, colours], axis=1)
    kernels += params.bilateral_weight * normalised(bilateral.astype(np.float32))
    marginals = softmax(log_unary)
    for _ in range(params.iterations):
        marginals = softmax(log_unary + marginals @ kernels)
    return marginals.reshape(probabilities.shape)


def normalised(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian of every pair of points, D^-1/2 K D^-1/2: (N, N)."""
    squares = (features**2).sum(axis=1)
    kernel = features @ features.T
    kernel *= 2
    kernel -= squares
    kernel -= squares[:, None]
    kernel /= 2
    np.exp(np.minimum(kernel, 0, out=kernel), out=kernel)
    scale = 1 / np.sqrt(kernel.sum(axis=1))
    kernel *= scale
    kernel *= scale[:, None]
    return kernel


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=RESULTS / "crf_accuracy.json")
    options = parser.parse_args()
    result = {"run": describe_run(), "photos": photo_source(), "case": CASE.name, "rows": []}
    for name, params in PARAMS.items():
        found = {accuracy: [] for accuracy in ("lattice", "high")}
        for seed in range(PHOTOS):
            probabilities, image = make_inputs(CASE, seed=seed)
            exact = exact_mean_field(probabilities, image, params)
            for accuracy, rows in found.items():
                refined = DenseCRF(params, accuracy=accuracy).refine(probabilities, image)
                wrong = (refined.argmax(0) != exact.argmax(0)).mean()
                rows.append((wrong, np.abs(refined - exact).mean()))
        for accuracy, rows in found.items():
            wrong, distance = np.mean(rows, axis=0)
            result["rows"].append(
                {
                    "params": name,
                    "accuracy": accuracy,
                    "labels_differ": round(float(wrong), 6),
                    "mean_distance": round(float(distance), 8),
                }
            )
            print(f"{name:8} {accuracy:8} labels differ {wrong:.3%}  mean |dQ| {distance:.2e}")
    write_result(options.json, result)


if __name__ == "__main__":
    main()
