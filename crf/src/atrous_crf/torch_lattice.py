"""The permutohedral lattice and the dense CRF's mean field in torch: any device, differentiable.

`refine_torch` refines probabilities as `DenseCRF.refine` does. `torch_layer.CRFLayer` trains the
kernel weights and the compatibility matrix with a network. Both stand on `Lattice.filter`, whose
gradient is the same filter with its blurs in reverse order.

Values are rows of channels, (points, C): what is gathered and summed lies side by side in memory.
Sources: Krähenbühl & Koltun 2011 (the model); Adams, Baek & Davis 2010 (the lattice).
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import InputError
from .params import CRFParams, check_floats, check_lowest
from .torch_simplex import find_neighbours, find_simplices

ACCURACIES = ("lattice", "high")
MIN_PROBABILITY = 1e-5
NORM_EPS = 1e-20


def triton_kernels(values: Tensor) -> ModuleType | None:
    """Give the CUDA kernels where they apply: float32 on a CUDA device, with triton installed."""
    if values.device.type != "cuda" or values.dtype != torch.float32:
        return None
    return _find_kernels()


def lacks_embedding_bag(values: Tensor) -> bool:
    """Say whether rows are summed one by one: MPS has embedding bags in new torch versions only."""
    return values.device.type == "mps"


@functools.cache
def _find_kernels() -> ModuleType | None:
    if importlib.util.find_spec("triton") is None:
        return None
    return importlib.import_module(".triton_kernels", __package__)


@dataclass(frozen=True, eq=False)
class Lattice:
    """Where points lie in the permutohedral lattice: what all filterings of an image share.

    Only vertices that touch a point exist (and their neighbours, with `ring`). A batch of images is
    one lattice of several parts that do not meet. Nothing in here carries a gradient.
    """

    vertices: Tensor  # (P, d+1) int32: corners of the simplex around each point
    weights: Tensor  # (P, d+1): barycentric, times the square root of the filter's factor
    points: Tensor  # (P*(d+1),) int32: the points at each vertex, one vertex after the other
    point_weights: Tensor  # (P*(d+1),): their weights
    offsets: Tensor  # (M+1,) int32: where each vertex's points begin
    neighbours: Tensor  # (d+1, 2, M) int32: next and previous vertex along each axis, or -1

    @staticmethod
    @torch.no_grad()
    def build(
        features: Tensor, *, ring: bool = False, dtype: torch.dtype = torch.float32
    ) -> Lattice:
        """Place points in the lattice.

        Args:
            features: (N, P, d), coordinates of P points in N separate images, in units of the
                kernel's standard deviation. No gradient flows to them.
            ring: Add the neighbours of occupied vertices: less blur is lost at the rim.
            dtype: Type of the values to filter. Positions are float32 in any case.

        Raises:
            InputError: If the shape is wrong, a feature is not finite, or the points spread over
                more cells than a 63-bit number can count.
        """
        if features.ndim != 3 or 0 in features.shape:
            raise InputError(
                f"features are {tuple(features.shape)}; needed is (N, P, d), not empty"
            )
        device = features.device
        if device.type == "mps":  # sorting and searching int64 is incomplete there
            return Lattice.build(features.cpu(), ring=ring, dtype=dtype).to(device)
        num_images, points = features.shape[:2]
        num_points = num_images * points
        # pydensecrf fills the last four points up with some at the origin: vertices without values.
        fills_up = not ring and points % 4 != 0
        features = F.pad(features, (0, 0, 0, 1)) if fills_up else features
        keys, weights, deltas = find_simplices(features, steps=2 if ring else 1)
        keys, weights = (by.view(len(by), num_images, -1) for by in (keys, weights))
        at_origin = keys[:, :, points:].flatten()
        keys, weights = keys[:, :, :points].flatten(1), weights[:, :, :points].flatten(1)
        weights = weights.to(dtype) * (1 + 2.0 ** -features.shape[2]) ** -0.5

        ordered, order = keys.flatten().sort(stable=True)
        is_first = torch.ones_like(ordered, dtype=torch.bool)
        torch.ne(ordered[1:], ordered[:-1], out=is_first[1:])
        ids = is_first.cumsum(0) - 1
        occupied = ordered[is_first]
        existing = occupied
        if ring or fills_up:
            steps = deltas if ring else ()
            around = [at_origin, *(occupied + delta for step in steps for delta in (step, -step))]
            existing = torch.cat([occupied, *around]).unique()
            ids = torch.searchsorted(existing, occupied)[ids]
        offsets = torch.searchsorted(ids, torch.arange(len(existing) + 1, device=device))
        vertices = torch.empty_like(ids).scatter_(0, order, ids).view(-1, num_points)
        return Lattice(
            vertices=vertices.T.to(torch.int32).contiguous(),
            weights=weights.T.contiguous(),
            points=(order % num_points).to(torch.int32),
            point_weights=weights.flatten()[order],
            offsets=offsets.to(torch.int32),
            neighbours=find_neighbours(existing, deltas),
        )

    @property
    def num_points(self) -> int:
        return len(self.vertices)

    @property
    def num_vertices(self) -> int:
        return len(self.offsets) - 1

    def to(self, device: torch.device) -> Lattice:
        """Move to another device."""
        return Lattice(**{name: getattr(self, name).to(device) for name in _FIELDS})

    def repeat(self, batch: int) -> Lattice:
        """Make one lattice for a batch of images whose points lie alike."""
        if batch == 1:
            return self
        image = torch.arange(batch, dtype=torch.int32, device=self.points.device)
        shift = image * self.num_vertices
        neighbours = self.neighbours[:, :, None] + torch.where(
            self.neighbours[:, :, None] < 0, 0, shift[:, None]
        )
        starts = self.offsets[:-1] + (image * len(self.points))[:, None]
        end = starts.new_full((1,), batch * len(self.points))
        return Lattice(
            vertices=(self.vertices + shift[:, None, None]).flatten(0, 1),
            weights=self.weights.repeat(batch, 1),
            points=(self.points + (image * self.num_points)[:, None]).flatten(),
            point_weights=self.point_weights.repeat(batch),
            offsets=torch.cat([starts.flatten(), end]),
            neighbours=neighbours.flatten(2),
        )

    @torch.no_grad()
    def normalised(self) -> Lattice:
        """Scale the filter F to N F N, where 1/N² is what F makes of ones at each point."""
        ones = self.weights.new_ones(self.num_points, 1)
        norm = (self.filter(ones) + NORM_EPS).rsqrt()  # (P, 1)
        return replace(
            self,
            weights=self.weights * norm,
            point_weights=self.point_weights * norm.flatten()[self.points],
        )

    def filter(self, values: Tensor) -> Tensor:
        """Filter rows of channels, (P, C) -> (P, C): a Gaussian of width 1 over the features.

        `values` have the lattice's dtype and device; the gradient flows to them.
        """
        filtered: Tensor = _Filter.apply(values, self, False)  # pyright: ignore[reportAssignmentType]
        return filtered

    def splat(self, values: Tensor) -> Tensor:
        """Sum the points at each vertex, (P, C) -> (M, C), always in the same order."""
        if lacks_embedding_bag(values):
            vertex_values = values.new_zeros(self.num_vertices, values.shape[1])
            for corner, weight in zip(self.vertices.T, self.weights.T, strict=True):
                vertex_values.index_add_(0, corner, values * weight[:, None])
            return vertex_values
        return _sum_rows(values, self.points, self.point_weights, self.offsets)

    def blur(self, values: Tensor, *, reverse: bool = False) -> Tensor:
        """Blur (M, C) along the axes, one after the other: v + (next + previous) / 2."""
        axes = range(len(self.neighbours))
        for axis in reversed(axes) if reverse else axes:
            if lacks_embedding_bag(values):
                padded = F.pad(values, (0, 0, 0, 1))  # -1 finds the row of zeros
                following, previous = self.neighbours[axis] % len(padded)
                values = values + (padded[following] + padded[previous]) / 2
            else:
                values = _sum_rows(values, *self._stencils[axis])
        return values

    def slice(self, values: Tensor) -> Tensor:
        """Interpolate at the points, (M, C) -> (P, C): the transpose of `splat`."""
        if lacks_embedding_bag(values):
            corners = zip(self.vertices.T, self.weights.T, strict=True)
            return torch.stack([values[ids] * w[:, None] for ids, w in corners]).sum(0)
        return F.embedding_bag(self.vertices, values, mode="sum", per_sample_weights=self.weights)

    def vertices_with_more_than(self, count: int) -> Tensor:
        """Name the vertices that sum more than `count` points, (L,) int32."""
        if count not in self._long_lists:
            lengths = self.offsets[1:] - self.offsets[:-1]
            self._long_lists[count] = (lengths > count).nonzero().flatten().to(torch.int32)
        return self._long_lists[count]

    @cached_property
    def _long_lists(self) -> dict[int, Tensor]:
        return {}

    @cached_property
    def _stencils(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Each axis' blur as rows to sum: indices, weights, offsets; only of what exists."""
        stencils: list[tuple[Tensor, Tensor, Tensor]] = []
        ids = torch.arange(self.num_vertices, dtype=torch.int32, device=self.offsets.device)
        for following, previous in self.neighbours:
            rows = torch.stack([ids, following, previous], dim=1)
            stencils.append(_stencil(rows, self.weights.dtype))
        return stencils


_FIELDS = tuple(Lattice.__dataclass_fields__)


def _stencil(rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    exists = rows >= 0  # (M, 3)
    weights = torch.tensor([1.0, 0.5, 0.5], dtype=dtype, device=rows.device).expand(rows.shape)
    offsets = F.pad(exists.sum(1).cumsum(0), (1, 0)).to(torch.int32)
    return rows[exists], weights[exists], offsets


def _sum_rows(values: Tensor, rows: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """Sum weighted rows: result i takes entries offsets[i] to offsets[i + 1], in this order."""
    return F.embedding_bag(
        rows, values, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


class _Filter(torch.autograd.Function):
    """Splat, blur, slice. Keeps nothing but the lattice: the transpose needs no values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, lattice: Lattice, reverse: bool) -> Tensor:
        ctx.lattice, ctx.reverse = lattice, reverse
        values = values.detach().contiguous()
        kernels = triton_kernels(values)
        if kernels is not None:
            return kernels.filter_rows(lattice, values, reverse=reverse)
        splatted = lattice.splat(values)
        return lattice.slice(lattice.blur(splatted, reverse=reverse))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        return _Filter.apply(grad_outputs[0], ctx.lattice, not ctx.reverse), None, None


@torch.no_grad()
def crf_lattices(
    images: Tensor, params: CRFParams, *, accuracy: str, dtype: torch.dtype
) -> tuple[Lattice, Lattice]:
    """Build the spatial and the bilateral lattice of a batch, both with symmetric normalisation.

    Args:
        images: (N, H, W, 3), RGB in 0 to 255.
        params: The kernels' widths; weights and iterations are not read.
        accuracy: "lattice" or "high": with one ring of neighbour vertices.
        dtype: Type of the values to filter.
    """
    if accuracy not in ACCURACIES:
        raise InputError(f"accuracy is {accuracy!r}; it must be one of {', '.join(ACCURACIES)}")
    num_images, height, width, _ = images.shape
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=images.device),
        torch.arange(width, dtype=torch.float32, device=images.device),
        indexing="ij",
    )
    xy = torch.stack([x, y], dim=2).view(1, -1, 2)
    colours = images.detach().float().flatten(1, 2)
    # Divisors are tensors: CUDA multiplies by the rounded inverse of a plain number.
    spatial = xy / xy.new_tensor(params.spatial_xy_std)
    bilateral = torch.cat(
        [
            (xy / xy.new_tensor(params.bilateral_xy_std)).expand(num_images, -1, -1),
            colours / xy.new_tensor(params.bilateral_rgb_std),
        ],
        dim=2,
    )
    ring = accuracy == "high"
    return (
        Lattice.build(spatial, ring=ring, dtype=dtype).normalised().repeat(num_images),
        Lattice.build(bilateral, ring=ring, dtype=dtype).normalised(),
    )


def refine_torch(
    probabilities: Tensor, image: Tensor, params: CRFParams, accuracy: str = "lattice"
) -> Tensor:
    """Sharpen class probabilities along image edges, on the tensors' device.

    The unary is -log(clip(p, 1e-5, 1)), the features are (x, y) and (x, y, r, g, b), the
    normalisation is symmetric, the compatibility Potts. A gradient flows to `probabilities`, none
    to the image and the widths of the kernels; it is zero where a probability was clipped.

    Args:
        probabilities: (K, H, W) or (N, K, H, W) float; each pixel sums to 1.
        image: (H, W, 3) or (N, H, W, 3) uint8 RGB on the same device, same H and W.
        params: Kernel widths in pixels and grey levels (0-255), kernel weights, iterations.
        accuracy: "lattice", as pydensecrf, or "high": nearer to the exact kernels, and slower.

    Returns:
        As `probabilities`, float64 if they are, else float32; each pixel sums to 1.

    Raises:
        InputError: If shapes, types or devices do not match, or a probability is negative or not
            finite.
    """
    _check_inputs(probabilities, image)
    if probabilities.ndim == 3:
        return refine_torch(probabilities[None], image[None], params, accuracy)[0]
    num_images, _, height, width = probabilities.shape
    dtype = torch.float64 if probabilities.dtype == torch.float64 else torch.float32
    spatial, bilateral = crf_lattices(image, params, accuracy=accuracy, dtype=dtype)
    clipped = probabilities.to(dtype).clamp(MIN_PROBABILITY, 1)
    log_unary = to_rows(clipped).log()
    terms = [(spatial, params.spatial_weight), (bilateral, params.bilateral_weight)]
    logits = mean_field(log_unary, terms, iterations=params.iterations)
    return from_rows(logits.softmax(1), (num_images, height, width))


def mean_field(
    log_unary: Tensor,
    terms: Sequence[tuple[Lattice, Tensor | float]],
    *,
    iterations: int,
    compatibility: Tensor | None = None,
) -> Tensor:
    """Iterate the mean field: filter, weigh, transform, add to the unary, softmax.

    Args:
        log_unary: (P, K) log-probabilities up to a constant a pixel: minus the unary energies.
        terms: A normalised lattice and a weight, a number or (K,), for each kernel.
        iterations: How often.
        compatibility: (K, K); entry (i, j) is what mass of class j nearby adds to the log of class
            i. None is the identity, the Potts model.

    Returns:
        (P, K) logits; their softmax are the marginals.
    """
    kernels = triton_kernels(log_unary)
    if kernels is not None and compatibility is None and not log_unary.requires_grad:
        return kernels.mean_field(log_unary, terms, iterations=iterations)
    logits = log_unary
    for _ in range(iterations):
        marginals = logits.softmax(1)
        messages = [weight * lattice.filter(marginals) for lattice, weight in terms]
        message = functools.reduce(torch.add, messages)
        logits = log_unary + (message if compatibility is None else message @ compatibility.T)
    return logits


def to_rows(maps: Tensor) -> Tensor:
    """(N, K, H, W) -> (N*H*W, K), contiguous."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2).contiguous()


def from_rows(rows: Tensor, size_nhw: tuple[int, int, int]) -> Tensor:
    """(N*H*W, K) -> (N, K, H, W), contiguous."""
    return rows.view(*size_nhw, -1).permute(0, 3, 1, 2).contiguous()


def _check_inputs(probabilities: Tensor, image: Tensor) -> None:
    if probabilities.ndim not in (3, 4) or 0 in probabilities.shape:
        shape = tuple(probabilities.shape)
        raise InputError(f"probabilities are {shape}; needed is (K, H, W) or (N, K, H, W)")
    check_floats(probabilities.dtype, is_float=probabilities.is_floating_point())
    *batch, _, height, width = probabilities.shape
    if tuple(image.shape) != (*batch, height, width, 3):
        raise InputError(
            f"image is {tuple(image.shape)} but probabilities are {tuple(probabilities.shape)}; "
            f"needed is {(*batch, height, width, 3)}: upsample the probabilities first"
        )
    if image.dtype != torch.uint8:
        raise InputError(f"image is {image.dtype}; needed is uint8 RGB, 0 to 255, not normalised")
    if image.device != probabilities.device:
        raise InputError(
            f"image is on {image.device} but probabilities are on {probabilities.device}; "
            "move them to one device"
        )
    low, high = torch.stack(probabilities.detach().aminmax()).tolist()  # a GPU is waited for once
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("probabilities hold NaN or infinity; mend the network's output first")
    check_lowest(low)
