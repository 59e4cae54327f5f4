"""The permutohedral lattice and the dense CRF's mean field in torch: any device, differentiable.

`refine_torch` refines probabilities as `DenseCRF.refine` does. `torch_layer.CRFLayer` trains the
kernel weights and the compatibility matrix together with a network. Both use `Lattice.filter`,
whose gradient is the same filter with its blurs in reverse order.

Values are rows of channels, (points, C), so that the channels of a point are adjacent in memory.
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
    """Return the CUDA kernels for float32 on a CUDA device with triton installed, else None."""
    if values.device.type != "cuda" or values.dtype != torch.float32:
        return None
    return _find_kernels()


def lacks_embedding_bag(values: Tensor) -> bool:
    """Return whether rows must be summed one by one: older torch has no embedding bags on MPS."""
    return values.device.type == "mps"


@functools.cache
def _find_kernels() -> ModuleType | None:
    if importlib.util.find_spec("triton") is None:
        return None
    return importlib.import_module(".triton_kernels", __package__)


@dataclass(frozen=True, eq=False)
class Lattice:
    """The points of an image in the permutohedral lattice; all filters of the image share it.

    Only vertices that touch a point exist (with `ring`, their neighbours too). A batch of images is
    one lattice with separate parts. The fields carry no gradient.
    """

    vertices: Tensor  # (P, d+1) int32: corners of the simplex around each point
    weights: Tensor  # (P, d+1): barycentric, times the square root of the factor alpha
    points: Tensor  # (P*(d+1),) int32: the points of each vertex, vertex by vertex
    point_weights: Tensor  # (P*(d+1),): the weights of `points`
    offsets: Tensor  # (M+1,) int32: where the points of each vertex begin
    neighbours: Tensor  # (d+1, 2, M) int32: next and previous vertex along each axis; -1 for none

    @staticmethod
    @torch.no_grad()
    def build(
        features: Tensor, *, ring: bool = False, dtype: torch.dtype = torch.float32
    ) -> Lattice:
        """Place points in the lattice.

        Args:
            features: (N, P, d), coordinates of P points in each of N images, in units of the
                kernel's standard deviation. No gradient flows to them.
            ring: Add the neighbours of occupied vertices, so that less is lost in the blur.
            dtype: Type of the values to filter. Positions are always float32.

        Raises:
            InputError: If the shape is wrong, a feature is not finite, or the points spread over
                more cells than a 63-bit number can count.
        """
        if features.ndim != 3 or 0 in features.shape:
            raise InputError(
                f"features are {tuple(features.shape)}; they must be (N, P, d) and not empty"
            )
        device = features.device
        if device.type == "mps":  # MPS cannot sort and search all int64 tensors
            return Lattice.build(features.cpu(), ring=ring, dtype=dtype).to(device)
        num_images, points = features.shape[:2]
        num_points = num_images * points
        # pydensecrf pads the points to a multiple of four with points at the origin. They have no
        # values, but the vertices that they touch exist.
        pads = not ring and points % 4 != 0
        features = F.pad(features, (0, 0, 0, 1)) if pads else features
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
        if ring or pads:
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
        """Return a copy on another device."""
        return Lattice(**{name: getattr(self, name).to(device) for name in _FIELDS})

    def repeat(self, batch: int) -> Lattice:
        """Return a lattice for a batch of images that have the same points."""
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
        """Return the lattice of the filter N F N, where F is this filter and 1/N² is F of ones."""
        ones = self.weights.new_ones(self.num_points, 1)
        norm = (self.filter(ones) + NORM_EPS).rsqrt()  # (P, 1)
        return replace(
            self,
            weights=self.weights * norm,
            point_weights=self.point_weights * norm.flatten()[self.points],
        )

    def filter(self, values: Tensor) -> Tensor:
        """Filter rows of channels, (P, C) -> (P, C), with a Gaussian of width 1 over the features.

        `values` must have the dtype and device of the lattice. The gradient flows to them.
        """
        filtered: Tensor = _Filter.apply(values, self, False)  # pyright: ignore[reportAssignmentType]
        return filtered

    def splat(self, values: Tensor) -> Tensor:
        """Sum the points of each vertex, (P, C) -> (M, C), in a fixed order."""
        if lacks_embedding_bag(values):
            vertex_values = values.new_zeros(self.num_vertices, values.shape[1])
            for corner, weight in zip(self.vertices.T, self.weights.T, strict=True):
                vertex_values.index_add_(0, corner, values * weight[:, None])
            return vertex_values
        return _sum_rows(values, self.points, self.point_weights, self.offsets)

    def blur(self, values: Tensor, *, reverse: bool = False) -> Tensor:
        """Blur (M, C) along one axis after the other: v + (next + previous) / 2."""
        axes = range(len(self.neighbours))
        for axis in reversed(axes) if reverse else axes:
            if lacks_embedding_bag(values):
                padded = F.pad(values, (0, 0, 0, 1))  # index -1 is the row of zeros
                following, previous = self.neighbours[axis] % len(padded)
                values = values + (padded[following] + padded[previous]) / 2
            else:
                values = _sum_rows(values, *self._stencils[axis])
        return values

    def slice(self, values: Tensor) -> Tensor:
        """Interpolate at the points, (M, C) -> (P, C); the transpose of `splat`."""
        if lacks_embedding_bag(values):
            corners = zip(self.vertices.T, self.weights.T, strict=True)
            return torch.stack([values[ids] * w[:, None] for ids, w in corners]).sum(0)
        return F.embedding_bag(self.vertices, values, mode="sum", per_sample_weights=self.weights)

    def vertices_with_more_than(self, count: int) -> Tensor:
        """Return the vertices with more than `count` points, (L,) int32."""
        if count not in self._long_lists:
            lengths = self.offsets[1:] - self.offsets[:-1]
            self._long_lists[count] = (lengths > count).nonzero().flatten().to(torch.int32)
        return self._long_lists[count]

    @cached_property
    def _long_lists(self) -> dict[int, Tensor]:
        return {}

    @cached_property
    def _stencils(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """The blur of each axis as sums of existing rows: indices, weights, offsets."""
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
    """Sum weighted rows in a fixed order: result i sums entries offsets[i] to offsets[i + 1]."""
    return F.embedding_bag(
        rows, values, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


class _Filter(torch.autograd.Function):
    """Splat, blur, slice. Saves only the lattice for the gradient, which needs no values."""

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
        images: (N, H, W, 3) RGB, 0 to 255.
        params: The widths of the kernels; weights and iterations are not used.
        accuracy: "lattice", or "high" for one ring of neighbour vertices.
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
    # Divide by tensors: for a plain number, CUDA multiplies by its rounded inverse.
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
    """Sharpen class probabilities along image edges, on the device of the tensors.

    The unary is -log(clip(p, 1e-5, 1)), the features are (x, y) and (x, y, r, g, b), kernels are
    normalised symmetrically, and the compatibility is the Potts model. The gradient flows to
    `probabilities` only; it is zero where a probability was clipped.

    Args:
        probabilities: (K, H, W) or (N, K, H, W) float; each pixel sums to 1.
        image: (H, W, 3) or (N, H, W, 3) uint8 RGB on the same device, same H and W.
        params: Kernel widths in pixels and grey levels (0-255), kernel weights, iterations.
        accuracy: "lattice", as in pydensecrf; "high" is closer to the exact kernels and slower.

    Returns:
        Shape of `probabilities`; float64 if they are float64, else float32. Each pixel sums to 1.

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
    """Run mean-field iterations: filter, weight, apply the compatibility, add the unary, softmax.

    Args:
        log_unary: (P, K) negative unary energies: log-probabilities, up to a constant per pixel.
        terms: For each kernel, a normalised lattice and a weight, a number or (K,).
        iterations: Number of iterations.
        compatibility: (K, K); entry (i, j) is how much class j nearby adds to the log of class i.
            None is the identity, the Potts model.

    Returns:
        (P, K) logits; their softmax is the marginals.
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
        raise InputError(f"probabilities are {shape}; they must be (K, H, W) or (N, K, H, W)")
    check_floats(probabilities.dtype, is_float=probabilities.is_floating_point())
    *batch, _, height, width = probabilities.shape
    if tuple(image.shape) != (*batch, height, width, 3):
        raise InputError(
            f"image is {tuple(image.shape)} but probabilities are {tuple(probabilities.shape)}; "
            f"it must be {(*batch, height, width, 3)}: upsample the probabilities first"
        )
    if image.dtype != torch.uint8:
        raise InputError(f"image is {image.dtype}; it must be uint8 RGB, 0 to 255, not normalised")
    if image.device != probabilities.device:
        raise InputError(
            f"image is on {image.device} but probabilities are on {probabilities.device}; "
            "move them to the same device"
        )
    low, high = torch.stack(probabilities.detach().aminmax()).tolist()  # one wait for the GPU
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("probabilities contain NaN or infinity; fix the network output first")
    check_lowest(low)
