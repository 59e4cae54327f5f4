"""Dense CRFs that are compared: each as a function of probabilities and photo.

pydensecrf is optional: `pip install pydensecrf2==1.1` builds it with Python 3.11 or 3.12 and a C++
compiler. The `pydensecrf` of PyPI no longer builds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from measuring import peak_memory_mb
from numpy.typing import NDArray

from atrous.crf import CRFParams, DenseCRF

Probabilities = NDArray[np.float32]
Refine = Callable[[Probabilities, NDArray[np.uint8]], Probabilities]

PARAMS = {
    "deeplab": CRFParams(),
    "readme": CRFParams(5, 3, 3, 10, 80, 13),  # of pydensecrf's page
}
OURS, PRUNED, HIGH, TORCH = "atrous", "atrous pruned", "atrous high", "atrous torch"
PYDENSECRF = "pydensecrf"
NAMES = (OURS, PRUNED, HIGH, TORCH, PYDENSECRF)
PRUNE_BELOW = 1e-3

# How far a contender's Q may be from `OURS`: (at most, on average, share of equal labels)
TOLERANCES = {
    PYDENSECRF: (2e-3, 1e-4, 0.9995),
    PRUNED: (1e-3, 1e-4, 1.0),
    TORCH: (1e-3, 1e-4, 0.9995),
}


def is_installed(name: str) -> bool:
    try:
        make(name, PARAMS["deeplab"], threads=1)
    except ImportError:
        return False
    return True


def make(name: str, params: CRFParams, *, threads: int) -> Refine:
    """Make a contender.

    Raises:
        ImportError: If it is not installed.
    """
    if name == OURS:
        return DenseCRF(params, threads=threads).refine
    if name == PRUNED:
        return DenseCRF(params, prune_below=PRUNE_BELOW, threads=threads).refine
    if name == HIGH:
        return DenseCRF(params, accuracy="high", threads=threads).refine
    return _torch(params, threads) if name == TORCH else _pydensecrf(params)


def _torch(params: CRFParams, threads: int) -> Refine:
    import torch

    from atrous_crf.torch_lattice import refine_torch

    def refine(probabilities: Probabilities, image: NDArray[np.uint8]) -> Probabilities:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            tensors = torch.from_numpy(probabilities), torch.from_numpy(image)
            return refine_torch(*tensors, params).numpy()

    return refine


def _pydensecrf(params: CRFParams) -> Refine:
    """Call pydensecrf as its page does; it runs on one thread."""
    from pydensecrf import densecrf
    from pydensecrf.utils import unary_from_softmax

    def refine(probabilities: Probabilities, image: NDArray[np.uint8]) -> Probabilities:
        classes, height, width = probabilities.shape
        crf = densecrf.DenseCRF2D(width, height, classes)
        crf.setUnaryEnergy(unary_from_softmax(probabilities))
        crf.addPairwiseGaussian(sxy=params.spatial_xy_std, compat=params.spatial_weight)
        crf.addPairwiseBilateral(
            sxy=params.bilateral_xy_std,
            srgb=params.bilateral_rgb_std,
            rgbim=image,
            compat=params.bilateral_weight,
        )
        return np.array(crf.inference(params.iterations)).reshape(probabilities.shape)

    return refine


def compare(found: Probabilities, reference: Probabilities) -> dict[str, float]:
    """Measure how far two results are apart: at most, on average, and in labels."""
    difference = np.abs(found - reference)
    return {
        "max_dq": float(difference.max()),
        "mean_dq": float(difference.mean(dtype=np.float64)),
        "labels_equal": float((found.argmax(axis=0) == reference.argmax(axis=0)).mean()),
    }


def check_agreement(name: str, measured: dict[str, float]) -> None:
    """Stop where a contender computes something else: its time would say nothing."""
    if name not in TOLERANCES:
        return
    at_most, mean, labels = TOLERANCES[name]
    agrees = measured["max_dq"] <= at_most and measured["mean_dq"] <= mean
    if not agrees or measured["labels_equal"] < labels:
        raise SystemExit(f"{name} disagrees with {OURS}: {measured}; allowed {TOLERANCES[name]}")


def measure_memory(
    name: str, params: str, threads: int, *, scores_file: str, image_file: str
) -> dict[str, float]:
    """Run a contender on saved inputs and say how much memory it takes; for a new process."""
    refine = make(name, PARAMS[params], threads=threads)
    scores, image = np.load(scores_file), np.load(image_file)
    refine(scores[:, :8, :8].copy(), image[:8, :8].copy())  # loads what is loaded late
    return {"peak_mb": round(peak_memory_mb(lambda: refine(scores, image)), 1)}
