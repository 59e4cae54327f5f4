"""The compiled kernel of the dense CRF (native/). Its callers check the arguments."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

class MeanField:
    """Mean-field inference in a dense CRF with C classes and N points.

    Calls release the GIL. Only one thread at a time may use an object. Results do not depend on the
    number of threads.
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
        """Set the sizes. Allocates nothing until the first call.

        Args:
            num_classes: 1 to 2^24.
            num_points: 1 to 2^31 - 1.
            height: Height of the grid that the points form, row by row; 0 for no grid.
            width: Width of the grid; 0 for no grid.
            threads: Maximum number of threads; 0 means OMP_NUM_THREADS or else all cores.
            ring: Add one ring of neighbour vertices before blurring, for higher accuracy.
        """

    def set_unary(self, energy: Floats) -> None:
        """Set the energies (C, N), which are copied; +inf excludes a class.

        Raises:
            InputError: If an energy is NaN or -inf, or a point has no finite energy.
        """

    def set_probabilities(
        self, probabilities: Floats, live: NDArray[np.int32] | None = None
    ) -> None:
        """Set the energies to -log(clip(p, 1e-5, 1)) of probabilities (C, N).

        With live (L,), probabilities can have any number of rows. Class i is then row live[i], and
        the last class, L, is the sum of all other rows.
        """

    def clear_unary(self) -> None:
        """Remove the unary. Without one, infer starts uniform and start returns zeros."""

    def add_positions(self, x_std: float, y_std: float, compat: Floats, normalization: int) -> None:
        """Add the term with features (x / x_std, y / y_std).

        Args:
            x_std: Width in x, in pixels.
            y_std: Width in y, in pixels.
            compat: 0-d (Potts: the weight w gives -w Q), (C,), or (C, C), which is symmetrised.
            normalization: 0 for none, 1 before, 2 after, 3 symmetric.
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
        """Return the marginals (C, N), a transposed view; Ctrl-C interrupts between iterations."""

    def start(self) -> Floats:
        """Return the initial marginals (C, N) for step; writable."""

    def step(self, q: Floats) -> None:
        """Replace marginals that start returned by those of the next iteration."""

    def kl_divergence(self, q: Floats) -> float:
        """Return sum Q log Q + sum U Q + sum Q apply(Q)."""

    @property
    def vertices(self) -> list[int]:
        """Number of lattice vertices of each term; builds the lattices if needed."""

    @property
    def timings(self) -> dict[str, float]:
        """Seconds spent so far on unary, build, splat, blur and slice."""

def filter(features: Floats, values: Floats, *, threads: int = 0, ring: bool = False) -> Floats:
    """Return the values (N, C), filtered over features (N, d) without normalisation."""

def expand(
    refined: Floats, probabilities: Floats, live: NDArray[np.int32], *, threads: int = 0
) -> Floats:
    """Undo the merging of `set_probabilities(live=...)` and return (K, N).

    Row live[i] is refined[i]. The other rows share refined[L] in proportion to clip(p, 1e-5, 1).
    """

def ranges(values: Floats, *, threads: int = 0) -> Floats:
    """Return (2, C), the minimum and maximum of each row of values (C, N); NaN if not finite."""

def release_memory() -> None:
    """Return the cached memory to the system, 640 MB at most."""

def simd() -> str:
    """Return the instruction set in use: "avx512", "avx2" or "baseline"; ATROUS_SIMD limits it."""

def max_threads() -> int:
    """Return the number of threads that 0 stands for."""
