"""The compiled kernel of the dense CRF (native/); arguments are validated by its callers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

class MeanField:
    """Mean field of one dense CRF: C classes, N points; pixel rows when height * width is N.

    Calls release the GIL; one object must not be used by two threads at once. Results do not depend
    on the number of threads.
    """

    def __init__(
        self,
        num_classes: int,
        num_points: int,
        *,
        height: int = 0,
        width: int = 0,
        threads: int = 0,
        ring: bool = False,
    ) -> None:
        """Reserve nothing yet.

        Args:
            num_classes: 1 to 2^24.
            num_points: 1 to 2^31 - 1.
            height: Of the grid that the points form, or 0 (with width 0) for points without one.
            width: See height.
            threads: 0 means all (OMP_NUM_THREADS, else the cores).
            ring: Add one ring of neighbour vertices before blurring: nearer to the exact filter.
        """

    def set_unary(self, energy: Floats) -> None:
        """Take energies (C, N); +inf means never. Copied.

        Raises:
            ValueError: If one is NaN or -inf, or a point has none that is finite.
        """

    def set_probabilities(
        self, probabilities: Floats, live: NDArray[np.int32] | None = None
    ) -> None:
        """Take -log(clip(p, 1e-5, 1)) of probabilities (C, N) as energies.

        With live (L,), probabilities have any number of rows, class i is row live[i], and class L,
        the last, is the sum over all other rows.
        """

    def clear_unary(self) -> None:
        """Forget the unary: infer then starts uniform, start gives zeros."""

    def add_positions(self, x_std: float, y_std: float, compat: Floats, normalization: int) -> None:
        """Add the term with features (x / x_std, y / y_std).

        Args:
            x_std: Width in pixels.
            y_std: Width in pixels.
            compat: 0-d (Potts: weight w gives -w Q), (C,), or (C, C), symmetrised here.
            normalization: 0 none, 1 before, 2 after, 3 symmetric.
        """

    def add_image(
        self,
        image: NDArray[np.uint8] | Floats,
        x_std: float,
        y_std: float,
        stds: Floats,
        compat: Floats,
        normalization: int,
    ) -> None:
        """Add the term with features (x / x_std, y / y_std, image[..., k] / stds[k])."""

    def add_features(self, features: Floats, compat: Floats, normalization: int) -> None:
        """Add the term with features (N, d), d from 1 to 255."""

    def infer(self, iterations: int) -> Floats:
        """Return marginals (C, N), a transposed view; Ctrl-C is heard between iterations."""

    def start(self) -> Floats:
        """Return the marginals (C, N) that step begins with; writable."""

    def step(self, q: Floats) -> None:
        """Replace marginals that start made by those of the next iteration."""

    def kl_divergence(self, q: Floats) -> float:
        """Return sum Q log Q + sum U Q + sum Q apply(Q)."""

    @property
    def vertices(self) -> Sequence[int]:
        """Lattice vertices of each term; builds the lattices if that is still to be done."""

    @property
    def timings(self) -> dict[str, float]:
        """Seconds so far: unary, build, splat, blur, slice."""

def filter(features: Floats, values: Floats, *, threads: int = 0, ring: bool = False) -> Floats:
    """Return values (N, C) filtered over features (N, d), without normalisation."""

def expand(
    refined: Floats, probabilities: Floats, live: NDArray[np.int32], *, threads: int = 0
) -> Floats:
    """Return (K, N): undo the merging of `set_probabilities(live=...)`.

    Row live[i] is refined[i]; refined[L] is shared out among the others as clip(p, 1e-5, 1) is.
    """

def ranges(values: Floats, *, threads: int = 0) -> Floats:
    """Return (2, C) of values (C, N): lowest and highest of each row, or NaN."""

def release_memory() -> None:
    """Give the system back what is kept for the next image, at most 640 MB."""

def simd() -> str:
    """Return "avx512", "avx2" or "baseline": what runs here. ATROUS_SIMD lowers it."""

def max_threads() -> int:
    """Return the number of threads that 0 stands for."""
