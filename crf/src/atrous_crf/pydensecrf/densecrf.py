"""The classes, constants and methods of pydensecrf.densecrf, on this package's kernel."""
# The names are those of the original, because scripts pass them as keywords.
# ruff: noqa: N802, N803

from __future__ import annotations

import threading
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from ..kernel import MeanField, check_reach, choose_threads
from . import checks, eigen
from .eigen import MatrixXf

__all__ = [
    "CONST_KERNEL",
    "DIAG_KERNEL",
    "FULL_KERNEL",
    "NORMALIZE_AFTER",
    "NORMALIZE_BEFORE",
    "NORMALIZE_SYMMETRIC",
    "NO_NORMALIZATION",
    "ConstUnary",
    "DenseCRF",
    "DenseCRF2D",
    "KernelType",
    "LogisticUnary",
    "NormalizationType",
    "Unary",
    "eigen",
]


class KernelType(IntEnum):
    """Which parameters of a kernel can be learned; inference is the same for all types."""

    CONST_KERNEL = 0
    DIAG_KERNEL = 1
    FULL_KERNEL = 2


class NormalizationType(IntEnum):
    """Where the filter is normalised by the filtered ones: nowhere, before, after, or half each."""

    NO_NORMALIZATION = 0
    NORMALIZE_BEFORE = 1
    NORMALIZE_AFTER = 2
    NORMALIZE_SYMMETRIC = 3


CONST_KERNEL = KernelType.CONST_KERNEL
DIAG_KERNEL = KernelType.DIAG_KERNEL
FULL_KERNEL = KernelType.FULL_KERNEL
NO_NORMALIZATION = NormalizationType.NO_NORMALIZATION
NORMALIZE_BEFORE = NormalizationType.NORMALIZE_BEFORE
NORMALIZE_AFTER = NormalizationType.NORMALIZE_AFTER
NORMALIZE_SYMMETRIC = NormalizationType.NORMALIZE_SYMMETRIC


class Unary:
    """Unary energies for `DenseCRF.setUnary`; use `ConstUnary` or `LogisticUnary`."""

    energy: NDArray[np.float32] | None = None  # (labels, points)


class ConstUnary(Unary):
    """Given energies.

    Args:
        u: (labels, points) float32; copied.

    Raises:
        InputError: If `u` is not float32, contains NaN or -infinity, or is empty.
    """

    def __init__(self, u: ArrayLike) -> None:
        self.energy = checks.energies("u", u).copy()


class LogisticUnary(Unary):
    """The energies L f of a logistic regression.

    Args:
        L: (labels, features) float32 coefficients.
        f: (features, points) float32.

    Raises:
        InputError: If one is not float32 or contains NaN or infinity, or the sizes do not match.
    """

    def __init__(self, L: ArrayLike, f: ArrayLike) -> None:
        coefficients = checks.energies("L", L, finite=True)
        values = checks.energies("f", f, finite=True)
        if coefficients.shape[1] != len(values):
            raise InputError(
                f"L is {coefficients.shape} and f is {values.shape}; they must be "
                "(labels, features) and (features, points)"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            self.energy = checks.energies("L f", coefficients @ values)


class DenseCRF:
    """Fully connected CRF over any points.

    Several threads may use one object: its methods wait for each other. Inference releases the GIL
    and uses all cores, or one core in a worker process of multiprocessing.

    Args:
        nvar: Number of points.
        nlabels: Number of labels.

    Raises:
        InputError: If one is not positive.
    """

    # The original accepts further arguments, and ignores them.
    def __init__(self, nvar: int, nlabels: int, *_: object) -> None:
        self._allocate(
            checks.whole("nvar", nvar, least=1), checks.whole("nlabels", nlabels, least=1), 0, 0
        )

    def _allocate(self, n_points: int, n_labels: int, height: int, width: int) -> None:
        self._n_points, self._n_labels = n_points, n_labels
        self._size_hw = (height, width)  # 0, 0 without a grid
        self._field = MeanField(
            n_labels, n_points, height=height, width=width, threads=choose_threads(None)
        )
        self._lock = threading.Lock()

    def setUnary(self, u: Unary) -> None:
        """Set the unary from a `ConstUnary` or `LogisticUnary`, which can be used again.

        Raises:
            InputError: If `u` is neither, or its energy is not a float32 array of the CRF's size.
        """
        if not isinstance(u, Unary) or u.energy is None:
            raise InputError(f"u is {u!r}; it must be a ConstUnary or a LogisticUnary")
        self._set_energy(checks.energies("u.energy", u.energy))

    def setUnaryEnergy(self, u: ArrayLike, f: ArrayLike | None = None) -> None:
        """Set the unary to `u`, or to the product `u` `f` of a logistic regression.

        Args:
            u: (labels, points) or (labels, h, w), float32 or float16, in any memory order; with
                `f`, (labels, features).
            f: (features, points).

        Raises:
            InputError: If the dtype or a size is wrong, or a value is NaN or -infinity.
        """
        if f is not None:
            self._set_energy(LogisticUnary(u, f).energy)
            return
        shape = np.shape(u)  # type: ignore[arg-type]
        if len(shape) == 3 and self._size_hw != (0, 0) and shape[1:] != self._size_hw:
            raise InputError(
                f"u is {shape}; it must be (labels, h, w) = {(self._n_labels, *self._size_hw)} "
                "(DenseCRF2D takes w first, then h)"
            )
        self._set_energy(checks.energies("u", u))

    def _set_energy(self, energy: NDArray[np.float32] | None) -> None:
        assert energy is not None
        if energy.shape != (self._n_labels, self._n_points):
            raise InputError(
                f"the unary is {energy.shape}; it must be (labels, points) = "
                f"{(self._n_labels, self._n_points)}"
            )
        with self._lock:
            self._field.set_unary(energy)

    def addPairwiseEnergy(
        self,
        features: ArrayLike,
        compat: ArrayLike,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add a Gaussian kernel over features of any number of dimensions.

        Args:
            features: (dimensions, points), each already divided by its kernel width.
            compat: A number w (Potts: a label gains w where the same label is near), (labels,) or
                (labels, labels) float32; a matrix is symmetrised and added to the energy.
            kernel: A `KernelType`; it has no effect on inference.
            normalization: A `NormalizationType`.

        Raises:
            InputError: If sizes do not match, or a value is not finite.
        """
        array = checks.features("features", features)
        if array.ndim < 2 or not len(array) or array.size != len(array) * self._n_points:
            raise InputError(
                f"features has the shape {array.shape}; it must be (dimensions, "
                f"{self._n_points}) with at least one dimension"
            )
        check_reach("the kernel's width, 1,", 1, checks.reach(array))
        rows = np.ascontiguousarray(array.reshape(len(array), -1).T, np.float32)
        terms = self._terms(compat, kernel, normalization)
        with self._lock:
            self._field.add_features(rows, *terms)

    def inference(self, niter: int) -> MatrixXf:
        """Run mean field.

        Args:
            niter: Number of iterations; 0 gives the softmax of the negative unary.

        Returns:
            (labels, points) float32 probabilities.

        Raises:
            InputError: If `niter` is negative or has a fraction.
        """
        iterations = checks.whole("niter", niter, least=0)
        with self._lock:
            return self._field.infer(iterations).view(MatrixXf)

    def startInference(self) -> tuple[MatrixXf, MatrixXf, MatrixXf]:
        """Return the initial marginals, writable, and two empty matrices.

        Without a unary the marginals are zeros. In the original the matrices are temporary memory;
        here `stepInference` takes them but does not use them.
        """
        with self._lock:
            return self._field.start().view(MatrixXf), MatrixXf(), MatrixXf()

    def stepInference(self, Q: MatrixXf, tmp1: Any, tmp2: Any) -> None:
        """Run one iteration on `Q` in place, any writable (labels, points) float32 array.

        Raises:
            InputError: If `Q` has a wrong shape or dtype, is read-only, or is not finite.
        """
        q = self._check_q(Q)
        if not q.flags.writeable:
            raise InputError("Q is read-only; it must be writable: use np.array(Q)")
        as_started = _as_started(q)
        with self._lock:
            self._field.step(as_started)
        if not np.shares_memory(as_started, q):
            q[:] = as_started

    def klDivergence(self, Q: MatrixXf) -> float:
        """Return the free energy of `Q`: the sum of Q log Q, the unary and the pairwise energy.

        As in the original, each pair counts twice. Up to a constant this is the Kullback-Leibler
        divergence; it decreases as inference converges.

        Raises:
            InputError: If `Q` has a wrong shape or dtype, or is not finite.
        """
        as_started = _as_started(self._check_q(Q))
        with self._lock:
            return self._field.kl_divergence(as_started)

    def _check_q(self, Q: Any) -> NDArray[np.float32]:
        q = np.asarray(Q)
        if q.dtype != np.float32 or q.shape != (self._n_labels, self._n_points):
            raise InputError(
                f"Q is {q.dtype} {q.shape}; it must be float32 (labels, points) = "
                f"{(self._n_labels, self._n_points)}"
            )
        if not (np.isfinite(q.min()) and np.isfinite(q.max())):
            raise InputError("Q contains NaN or infinite values; start again with startInference()")
        return q

    def _terms(
        self, compat: ArrayLike, kernel: int, normalization: int
    ) -> tuple[NDArray[np.float32], int]:
        checks.whole("kernel", kernel, least=0, most=max(KernelType))
        number = checks.whole("normalization", normalization, least=0, most=max(NormalizationType))
        return checks.compatibility(compat, self._n_labels), number


def _as_started(q: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `q` or a copy as the kernel needs it: writable, the labels of a point adjacent."""
    return np.require(q.T, requirements=["C", "W"]).T


class DenseCRF2D(DenseCRF):
    """Fully connected CRF over the pixels of an image. Note the order: width, then height.

    Args:
        w: Width.
        h: Height.
        nlabels: Number of labels.

    Raises:
        InputError: If one is not positive.
    """

    def __init__(self, w: int, h: int, nlabels: int, *_: object) -> None:
        width, height = checks.whole("w", w, least=1), checks.whole("h", h, least=1)
        n_points = checks.whole("w h", width * height, least=1)
        n_labels = checks.whole("nlabels", nlabels, least=1)
        self._allocate(n_points, n_labels, height, width)

    def addPairwiseGaussian(
        self,
        sxy: ArrayLike,
        compat: ArrayLike,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add a Gaussian kernel over the positions (x, y).

        Args:
            sxy: Width in pixels: one number or (x, y).
            compat: See `addPairwiseEnergy`.
            kernel: See `addPairwiseEnergy`.
            normalization: See `addPairwiseEnergy`.

        Raises:
            InputError: If a width is not positive, or `compat` has a wrong shape.
        """
        x_std, y_std = self._position_widths(sxy)
        terms = self._terms(compat, kernel, normalization)
        with self._lock:
            self._field.add_positions(x_std, y_std, *terms)

    def addPairwiseBilateral(
        self,
        sxy: ArrayLike,
        srgb: ArrayLike,
        rgbim: ArrayLike,
        compat: ArrayLike,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add a Gaussian kernel over positions and colours (x, y, r, g, b).

        Args:
            sxy: Width in pixels: one number or (x, y).
            srgb: Width in units of the image values: one number, or one number per channel.
            rgbim: (h, w, 3) uint8; or any number of channels, or (h, w), of any real dtype. Values
                are not rescaled: an image of 0 to 1 needs another `srgb` than 0 to 255.
            compat: See `addPairwiseEnergy`.
            kernel: See `addPairwiseEnergy`.
            normalization: See `addPairwiseEnergy`.

        Raises:
            InputError: If the image has a wrong size or values that are not finite, a width is not
                positive, or `compat` has a wrong shape.
        """
        x_std, y_std = self._position_widths(sxy)
        image = checks.features("rgbim", rgbim)
        if image.ndim == 2:
            image = image[:, :, None]
        if image.ndim != 3 or image.shape[:2] != self._size_hw or not image.shape[2]:
            raise InputError(
                f"rgbim has the shape {np.shape(rgbim)}; it must be (h, w, channels) with "  # type: ignore[arg-type]
                f"(h, w) = {self._size_hw} (DenseCRF2D takes w first, then h)"
            )
        stds = checks.widths("srgb", srgb, image.shape[2])
        for channel, std in enumerate(stds):
            check_reach("srgb", float(std), checks.reach(image[:, :, channel]))
        if image.dtype != np.uint8:
            image = image.astype(np.float32)
        terms = self._terms(compat, kernel, normalization)
        with self._lock:
            self._field.add_image(np.ascontiguousarray(image), x_std, y_std, stds, *terms)

    def _position_widths(self, sxy: ArrayLike) -> tuple[float, float]:
        x_std, y_std = map(float, checks.widths("sxy", sxy, 2))
        height, width = self._size_hw
        check_reach("sxy", x_std, width - 1)
        check_reach("sxy", y_std, height - 1)
        return x_std, y_std
