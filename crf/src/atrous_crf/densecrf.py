"""The dense CRF on numpy arrays and tensors: checks arguments, then calls the compiled kernel."""

from __future__ import annotations

import importlib
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError
from .kernel import MeanField, check_reach, choose_threads, expand, ranges
from .params import CRFParams, check_floats, check_lowest, is_number

if TYPE_CHECKING:
    from torch import Tensor

    Pair: TypeAlias = tuple[ArrayLike, ArrayLike] | tuple[Tensor, Tensor]

__all__ = ["CRFParams", "DenseCRF"]

FloatArray: TypeAlias = NDArray[np.float32]
Accuracy: TypeAlias = Literal["lattice", "high"]

SYMMETRIC = 3  # the number of this normalisation in the kernel
PAPER = CRFParams()


class DenseCRF:
    """Fully connected CRF with Gaussian edges over the pixels of an image.

    An object keeps no state between images, so several threads may share it.

    Args:
        params: Weights and widths of the kernels, and the number of iterations.
        accuracy: "lattice" filters as pydensecrf does. "high" adds a ring of vertices to the
            lattice before blurring; it is slower and closer to the exact sum over all pairs.
        prune_below: Classes whose probability is below this value at every pixel share one channel.
            0.0 keeps every class; 1e-3 is a good value. Fewer classes take less time. Merging is
            exact if the merged classes are identical; otherwise the relative error of their total
            probability is at most about `prune_below` times the sum of the two weights. Tensors
            that are not on the CPU, or that need a gradient, keep every class.
        threads: Maximum number of threads; None means all cores (one in a worker process of
            multiprocessing). The result does not depend on it.

    Raises:
        InputError: If a value is out of range.

    Source: Krähenbühl & Koltun 2011; the parameters are those of DeepLab v2's Eq. 3.
    """

    def __init__(
        self,
        params: CRFParams = PAPER,
        *,
        accuracy: Accuracy = "lattice",
        prune_below: float = 0.0,
        threads: int | None = None,
    ) -> None:
        if not isinstance(params, CRFParams):
            raise InputError(f"params is {params!r}; it must be a CRFParams")
        if accuracy not in ("lattice", "high"):
            raise InputError(f"accuracy is {accuracy!r}; it must be 'lattice' or 'high'")
        if not (is_number(prune_below) and 0 <= prune_below <= 1):
            raise InputError(
                f"prune_below is {prune_below!r}; it is a probability, 0 (keep all) to 1"
            )
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise InputError(f"threads is {threads!r}; it must be None or a whole number from 1")
        self.params = params
        self.accuracy: Accuracy = accuracy
        self.prune_below = prune_below
        self.threads = threads

    def __repr__(self) -> str:
        return (
            f"DenseCRF({self.params}, accuracy={self.accuracy!r}, "
            f"prune_below={self.prune_below}, threads={self.threads})"
        )

    @overload
    def refine(self, probabilities: Tensor, image: Tensor | NDArray[np.uint8]) -> Tensor: ...
    @overload
    def refine(self, probabilities: ArrayLike, image: ArrayLike) -> FloatArray: ...
    def refine(self, probabilities: Any, image: Any) -> Any:
        """Sharpen class probabilities along image edges.

        The unary is -log(clip(p, 1e-5, 1)), the features are (x, y) and (x, y, r, g, b), kernels
        are normalised symmetrically, and the compatibility is the Potts model.

        Args:
            probabilities: (K, H, W), any float type and memory order. Each pixel should sum to 1;
                it is normalised after clipping. Values above 1 count as 1. Or a tensor on any
                device, (K, H, W) or (N, K, H, W).
            image: (H, W, 3) uint8 RGB of the same height and width, not normalised; for a batch, a
                tensor (N, H, W, 3).

        Returns:
            (K, H, W) float32; each pixel sums to 1. For a tensor, a tensor on the same device. The
            classes of a pixel are adjacent in memory.

        Raises:
            InputError: If sizes differ or are 0, a value is negative or not finite, or the image is
                not uint8 RGB.

        Source: Krähenbühl & Koltun 2011, Algorithm 1.
        """
        if _is_tensor(probabilities):
            return self._refine_tensor(probabilities, image)
        return self._refine(probabilities, image, choose_threads(self.threads))

    def refine_many(self, pairs: Iterable[Pair]) -> Iterator[Any]:
        """Refine many images; with several threads, one image per thread at a time.

        Args:
            pairs: Pairs of probabilities and image, as `refine` takes them. They are read on
                demand, at most one per thread ahead.

        Yields:
            The results of `refine`, in the order of `pairs`.

        Raises:
            InputError: As `refine`, when the result of that pair is due.
        """
        remaining = iter(pairs)
        threads = choose_threads(self.threads)
        first = list(islice(remaining, threads))
        if threads == 1 or len(first) <= 1:
            for pair in first:
                yield self.refine(*pair)
            for pair in remaining:
                yield self.refine(*pair)
            return
        single = DenseCRF(
            self.params, accuracy=self.accuracy, prune_below=self.prune_below, threads=1
        )
        with ThreadPoolExecutor(threads, thread_name_prefix="densecrf") as pool:
            waiting: deque[Future[Any]] = deque(pool.submit(single.refine, *pair) for pair in first)
            try:
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(
                        pool.submit(single.refine, *pair) for pair in islice(remaining, 1)
                    )
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _refine(self, probabilities: ArrayLike, image: ArrayLike, threads: int) -> FloatArray:
        scores = _check_probabilities(probabilities)
        photo = _check_image(image, scores.shape[1:])
        num_classes, height, width = scores.shape
        rows = scores.reshape(num_classes, height * width)
        is_dead = _check_range(rows, threads) < self.prune_below
        if num_classes == 1:
            return np.ones_like(scores)
        live = np.flatnonzero(~is_dead).astype(np.int32)
        merged = num_classes - len(live)
        if merged < 2 or not len(live):  # nothing to merge, or no class to keep
            field = self._mean_field(photo, num_classes, 1, threads)
            field.set_probabilities(rows)
            refined = field.infer(self.params.iterations)
        else:
            field = self._mean_field(photo, len(live) + 1, merged, threads)
            field.set_probabilities(rows, live)
            merged_rows = field.infer(self.params.iterations)
            refined = expand(merged_rows, rows, live, threads=threads)
        return refined.reshape(scores.shape)

    def _mean_field(
        self, photo: NDArray[np.uint8], channels: int, merged: int, threads: int
    ) -> MeanField:
        """Create the terms; the last channel stands for `merged` classes."""
        height, width = photo.shape[:2]
        params, farthest = self.params, max(height, width) - 1
        field = MeanField(
            channels,
            height * width,
            height=height,
            width=width,
            threads=threads,
            ring=self.accuracy == "high",
        )
        if params.spatial_weight:
            std = params.spatial_xy_std
            check_reach("spatial_xy_std", std, farthest)
            compat = _potts(params.spatial_weight, channels, merged)
            field.add_positions(std, std, compat, SYMMETRIC)
        if params.bilateral_weight:
            std, rgb_std = params.bilateral_xy_std, params.bilateral_rgb_std
            check_reach("bilateral_xy_std", std, farthest)
            check_reach("bilateral_rgb_std", rgb_std, 255)
            stds = np.full(3, rgb_std, np.float32)
            compat = _potts(params.bilateral_weight, channels, merged)
            field.add_image(photo, std, std, stds, compat, SYMMETRIC)
        return field

    def _refine_tensor(self, probabilities: Tensor, image: Any) -> Tensor:
        torch: Any = sys.modules["torch"]
        check_floats(probabilities.dtype, is_float=probabilities.is_floating_point())
        if not _is_tensor(image):
            photo = np.array(image)
            _check_image_type(photo.dtype if image is not None else None, photo.dtype == np.uint8)
            image = torch.from_numpy(photo).to(probabilities.device)
        _check_image_type(image.dtype, image.dtype == torch.uint8)
        for name, tensor in (("probabilities", probabilities), ("image", image)):
            if tensor.layout != torch.strided:
                raise InputError(f"{name} is {tensor.layout}; it must be dense: {name}.to_dense()")
        # torch may negate lazily, which numpy and the kernels cannot read.
        probabilities = probabilities.resolve_neg()
        has_gradient = probabilities.requires_grad and torch.is_grad_enabled()
        if probabilities.device.type != "cpu" or image.device.type != "cpu" or has_gradient:
            lattice: Any = importlib.import_module(".torch_lattice", __package__)
            return lattice.refine_torch(probabilities, image, self.params, self.accuracy)
        scores, photos = probabilities.detach().float().numpy(), image.numpy()
        threads = choose_threads(self.threads)
        if scores.ndim != 4:
            return torch.from_numpy(self._refine(scores, photos, threads))
        if photos.ndim != 4 or len(photos) != len(scores) or not len(scores):
            raise InputError(
                f"probabilities are {_sizes(scores)} and image is {_sizes(photos)}; they must be "
                "(N, K, H, W) and (N, H, W, 3) with the same N, at least 1"
            )
        refined = [self._refine(p, i, threads) for p, i in zip(scores, photos, strict=True)]
        return torch.from_numpy(np.stack(refined))


def _potts(weight: float, channels: int, merged: int) -> FloatArray:
    """Return the compatibility: a weight, or a diagonal if the last channel is merged classes.

    With c = clip(p, 1e-5, 1), a mean-field step is Q_k ~ c_k exp(w F[Q_k]), where F is the
    normalised filter. If the m merged classes are identical, each has an m-th of their sum S, so
    S ~ sum(c) exp((w / m) F[S]): one channel with the unary -log(sum(c)) and the weight w / m is
    exact. In general they differ. But if all p_k < b and each pixel's probabilities sum to 1, Q_k
    stays near or below b (the Potts model raises the other classes only), so the error of an
    exponent is at most w b: 0.7 % for b = 1e-3 and w = 7. That is the relative error of the merged
    classes' total probability, which itself is at most m b and usually far less. Dividing the total
    in proportion to c_k is also exact for identical classes.
    """
    if merged == 1:
        return np.asarray(weight, np.float32)
    diagonal = np.full(channels, -weight, np.float32)
    diagonal[-1] /= merged
    return diagonal


def _check_probabilities(probabilities: ArrayLike) -> FloatArray:
    scores = np.asarray(probabilities)
    check_floats(scores.dtype, is_float=scores.dtype.kind == "f")
    if scores.ndim != 3 or not scores.size:
        raise InputError(
            f"probabilities are {_sizes(scores)}; they must be (K, H, W) with at least one class "
            "and one pixel: classes first, one image per call"
        )
    with np.errstate(over="ignore"):  # numbers beyond float32 become inf, which is refused later
        scores = np.ascontiguousarray(scores, np.float32)
    return scores


def _check_range(rows: FloatArray, threads: int) -> FloatArray:
    """Return the highest probability of each class, after checking that all are finite and >= 0."""
    lows, high = ranges(rows, threads=threads)
    low = lows.min()
    if np.isnan(low):
        raise InputError("probabilities contain NaN or infinity; they must be from 0 to 1")
    check_lowest(low)
    return high


def _check_image(image: ArrayLike, size_hw: tuple[int, ...]) -> NDArray[np.uint8]:
    photo = np.asarray(image)
    if photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] == 1):
        raise InputError(
            f"image is {_sizes(photo)}, a gray image; it must be (H, W, 3): repeat the channel, "
            "np.repeat(image.reshape(H, W, 1), 3, axis=2)"
        )
    if photo.ndim != 3 or photo.shape[2] != 3:
        raise InputError(
            f"image is {_sizes(photo)}; it must be (H, W, 3) RGB. Drop an alpha channel with "
            "image[:, :, :3]; for other channels use "
            "atrous_crf.pydensecrf.densecrf.DenseCRF2D.addPairwiseBilateral"
        )
    _check_image_type(photo.dtype, photo.dtype == np.uint8)
    if photo.shape[:2] != tuple(size_hw):
        raise InputError(
            f"image is {_sizes(photo[..., 0])} but probabilities are "
            f"{'x'.join(map(str, size_hw))}; resize the probabilities to the image first"
        )
    return np.ascontiguousarray(photo)


def _check_image_type(dtype: object, is_uint8: bool) -> None:
    if not is_uint8:
        raise InputError(
            f"image is {dtype}; it must be uint8 RGB from 0 to 255, not normalised "
            "(floats from 0 to 1: (255 * image).round().astype(np.uint8))"
        )


def _sizes(array: NDArray[Any]) -> str:
    return "x".join(map(str, array.shape)) or "a single number"


def _is_tensor(value: object) -> bool:
    torch: Any = sys.modules.get("torch")  # not imported: no argument can be a tensor
    return torch is not None and isinstance(value, torch.Tensor)
