"""A slow, simple permutohedral lattice and mean field, to compare with.

After Adams, Baek & Davis 2010 and Krähenbühl & Koltun 2011. A dict from a vertex's coordinates to
its values replaces the hash table. All sums are float64, but the position of a point in the
lattice is computed in float32 in a fixed order of operations, because rounding decides the simplex.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Vertex = tuple[int, ...]


def locate(feature: NDArray[np.float32]) -> list[tuple[Vertex, float]]:
    """Return the d+1 corners of the simplex around a point, and its barycentric weights."""
    d = len(feature)
    f32 = np.float32
    spread = f32(np.sqrt(2 / 3) * (d + 1))
    elevated = np.zeros(d + 1, f32)
    total = f32(0)
    for j in range(d, 0, -1):
        scaled = feature[j - 1] * f32(1 / np.sqrt((j + 1) * j) * spread)
        elevated[j] = total - f32(j) * scaled
        total = total + scaled
    elevated[0] = total

    nearest = np.rint(elevated * (f32(1) / f32(d + 1))).astype(int)  # half to even
    rest = elevated - (nearest * (d + 1)).astype(f32)
    rank = np.zeros(d + 1, int)
    for i in range(d + 1):
        for j in range(i + 1, d + 1):
            rank[i if rest[i] < rest[j] else j] += 1
    rank += nearest.sum()  # distance from the plane of sum zero: move back onto it
    nearest += np.where(rank < 0, 1, 0) - np.where(rank > d, 1, 0)
    rank %= d + 1

    inner = (elevated - (nearest * (d + 1)).astype(f32)) * (f32(1) / f32(d + 1))
    by_rank = np.empty(d + 1)
    by_rank[rank] = inner
    corners = []
    for color in range(d + 1):
        vertex = nearest * (d + 1) + np.where(rank <= d - color, color, color - (d + 1))
        if color == 0:
            weight = 1 + by_rank[d] - by_rank[0]
        else:
            weight = by_rank[d - color] - by_rank[d - color + 1]
        corners.append((tuple(int(k) for k in vertex), float(weight)))
    return corners


class Lattice:
    """The lattice of some points."""

    def __init__(self, features: NDArray[np.float32], *, ring: bool = False) -> None:
        self.dimensions = features.shape[1]
        self.corners = [locate(feature) for feature in features]
        self.vertices = {vertex for corners in self.corners for vertex, _ in corners}
        if len(features) % 4 and not ring:  # as pydensecrf pads its points
            self.vertices |= {vertex for vertex, _ in locate(np.zeros_like(features[0]))}
        if ring:
            around = [
                self.neighbors(v, axis)
                for v in self.vertices
                for axis in range(features.shape[1] + 1)
            ]
            self.vertices |= {vertex for pair in around for vertex in pair}

    def neighbors(self, vertex: Vertex, axis: int) -> tuple[Vertex, Vertex]:
        step = [-1] * (self.dimensions + 1)
        step[axis] += self.dimensions + 1
        ahead = tuple(k + s for k, s in zip(vertex, step, strict=True))
        behind = tuple(k - s for k, s in zip(vertex, step, strict=True))
        return ahead, behind

    def filter(self, values: Array) -> Array:
        """Filter (N, C)."""
        nothing = np.zeros(values.shape[1])
        at = {vertex: nothing.copy() for vertex in self.vertices}
        for corners, value in zip(self.corners, values, strict=True):
            for vertex, weight in corners:
                at[vertex] += weight * value
        for axis in range(self.dimensions + 1):
            blurred = {}
            for vertex, value in at.items():
                ahead, behind = self.neighbors(vertex, axis)
                blurred[vertex] = value + 0.5 * (at.get(ahead, nothing) + at.get(behind, nothing))
            at = blurred
        sliced = [
            sum(weight * at[vertex] for vertex, weight in corners) for corners in self.corners
        ]
        return np.array(sliced) / (1 + 2.0**-self.dimensions)


class Term:
    """One pairwise term; normalisation 0 is none, 1 before, 2 after, 3 symmetric."""

    def __init__(
        self,
        features: NDArray[np.float32],
        compat: float | Sequence[float] | Array,
        normalization: int = 3,
        *,
        ring: bool = False,
    ) -> None:
        self.lattice = Lattice(features, ring=ring)
        self.compat = np.asarray(compat, float)
        self.normalization = normalization
        self.norm = self.lattice.filter(np.ones((len(features), 1))) + 1e-20  # (N, 1)

    def apply(self, q: Array) -> Array:
        """Filter marginals (N, C) and apply the compatibility."""
        power = {0: (0.0, 0.0), 1: (1.0, 0.0), 2: (0.0, 1.0), 3: (0.5, 0.5)}[self.normalization]
        filtered = self.lattice.filter(q / self.norm ** power[0]) / self.norm ** power[1]
        if self.compat.ndim == 0:
            return -self.compat * filtered
        if self.compat.ndim == 1:
            return self.compat * filtered
        return filtered @ (self.compat + self.compat.T) / 2


def softmax(exponents: Array) -> Array:
    powers = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def step(unary: Array, terms: Sequence[Term], q: Array) -> Array:
    """Update marginals (C, N) once."""
    return softmax(-unary.T - sum((term.apply(q.T) for term in terms), np.zeros(1))).T


def infer(unary: Array, terms: Sequence[Term], iterations: int) -> Array:
    """Return marginals (C, N) from energies (C, N)."""
    q = softmax(-unary.T).T
    for _ in range(iterations):
        q = step(unary, terms, q)
    return q


def divergence(unary: Array, terms: Sequence[Term], q: Array) -> float:
    """Return sum Q log Q + sum U Q + sum Q apply(Q)."""
    pairwise = sum((term.apply(q.T) for term in terms), np.zeros(1)).T
    return float((q * (np.log(np.maximum(q, 1e-20)) + unary + pairwise)).sum())
