"""The dense CRF on numpy arrays: checks and documents what the compiled kernel then computes."""

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

SYMMETRIC = 3  # the kernel's number of this normalisation
PAPER = CRFParams()


class DenseCRF:
    """Fully connected CRF with Gaussian edges, over the pixels of a photo.

    An object holds no state between images, so one may serve many threads.

    Args:
        params: Weights and widths of the kernels, and the number of iterations.
        accuracy: "lattice" filters as pydensecrf does; "high" adds a ring of vertices to the
            lattice before blurring: slower, and nearer to the exact sum over all pairs.
        prune_below: Classes whose probability is below this bound at every pixel share one channel;
            1e-3 is a good value, 0.0 keeps every class. The work falls with the number of classes
            that are left. What is exact about it says `_potts`. Tensors on other devices than the
            CPU, or with a gradient, keep every class.
        threads: At most this many; None for all cores (one in a worker of multiprocessing). The
            result does not depend on it.

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
        """Sharpen class probabilities along the edges of a photo.

        The unary is -log(clip(p, 1e-5, 1)); features are (x, y, r, g, b); kernels are normalised
        symmetrically; labels interact by Potts' rule.

        Args:
            probabilities: (K, H, W), any floats in any memory order; each pixel sums to 1 (it
                is made to, after clipping, if it does not). Values over 1 count as 1. Or a tensor,
                (N, K, H, W) as well, on any device.
            image: (H, W, 3) uint8 RGB of the same size, not normalised; a tensor (N, H, W, 3) for
                a batch.

        Returns:
            (K, H, W) float32, each pixel sums to 1; a tensor on the same device for a tensor. The
            classes of a pixel lie side by side in memory.

        Raises:
            InputError: If sizes differ or are 0, values are negative or not finite, or the image is
                not uint8 RGB.

        Source: Krähenbühl & Koltun 2011, Algorithm 1.
        """
        if _is_tensor(probabilities):
            return self._refine_tensor(probabilities, image)
        return self._refine(probabilities, image, choose_threads(self.threads))

    def refine_many(self, pairs: Iterable[Pair]) -> Iterator[Any]:
        """Refine many photos; with several threads, that many at a time, each on one thread.

        Args:
            pairs: Of probabilities and image, as `refine` takes them. Read as they are needed: no
                more than one for each thread is held.

        Yields:
            What `refine` returns, in the order of `pairs`.

        Raises:
            InputError: As `refine`, when the turn of that pair comes.
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
        if merged < 2 or not len(live):  # nothing to merge, or nothing to keep
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
        """Build the lattices; the last channel stands for `merged` classes."""
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
        probabilities = probabilities.resolve_neg()  # numpy and our kernels know no lazy minus
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
                f"probabilities are {_sizes(scores)} and image is {_sizes(photos)}; a batch needs "
                "(N, K, H, W) and (N, H, W, 3) with the same N, at least 1"
            )
        refined = [self._refine(p, i, threads) for p, i in zip(scores, photos, strict=True)]
        return torch.from_numpy(np.stack(refined))


def _potts(weight: float, channels: int, merged: int) -> FloatArray:
    """Return the kernel's compatibility: a weight, or a diagonal when the last channel is several.

    With c = clip(p, 1e-5, 1), a step of mean field is Q_k ~ c_k exp(w F[Q_k]), F the normalised
    filter. Were the m merged classes alike, each would hold an m-th of their sum S, and so their
    sum would be S ~ sum(c) exp((w / m) F[S]): one channel with the unary -log(sum(c)) and the
    weight w / m is exactly their place. They are not quite alike. But where all p_k < b, and each
    pixel's probabilities sum to 1, Q_k stays near or below b (Potts only ever raises the others),
    and an exponent is wrong by at most w b, with b = 1e-3 and w = 7 by 0.7 %: by this part of
    itself the dead mass is wrong, which is m b at most and mostly far less. Giving the mass back
    in proportion to c_k is exact for m alike classes, too.
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
            "and one pixel; one image a call, classes first"
        )
    with np.errstate(over="ignore"):  # what overflows float32 is refused below
        scores = np.ascontiguousarray(scores, np.float32)
    return scores


def _check_range(rows: FloatArray, threads: int) -> FloatArray:
    """Return each class's highest probability, once all are known to be finite and 0 or more."""
    lows, high = ranges(rows, threads=threads)
    low = lows.min()
    if np.isnan(low):
        raise InputError("probabilities hold NaN or infinite values; they must be from 0 to 1")
    check_lowest(low)
    return high


def _check_image(image: ArrayLike, size_hw: tuple[int, ...]) -> NDArray[np.uint8]:
    photo = np.asarray(image)
    if photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] == 1):
        raise InputError(
            f"image is {_sizes(photo)}, a gray one; it must be (H, W, 3): repeat the channel, "
            "np.repeat(image.reshape(H, W, 1), 3, axis=2)"
        )
    if photo.ndim != 3 or photo.shape[2] != 3:
        raise InputError(
            f"image is {_sizes(photo)}; it must be (H, W, 3) RGB. Leave an alpha channel away, "
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
    torch: Any = sys.modules.get("torch")  # without it nothing is a tensor
    return torch is not None and isinstance(value, torch.Tensor)
