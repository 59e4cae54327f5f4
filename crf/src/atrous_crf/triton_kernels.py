# pyright: basic, reportMissingImports=false, reportIndexIssue=false
# triton comes only with the CUDA builds of torch, and type checkers do not understand its language.
# ruff: noqa: N803 (constants of a kernel are written in capitals)
"""CUDA kernels of the lattice in Triton: splat, blur, and the slice fused with the softmax.

`torch_lattice` calls them for float32 on CUDA devices; without triton it does the same in torch. A
kernel processes a block of rows of WIDTH channels each, padded to whole 32-byte sectors of memory,
so that loads are vectors. Sums have a fixed order; there are no atomics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from .torch_lattice import Lattice

# A vertex with more points gets its own program, so that the others of its block do not wait.
LONG_LIST = 32


@triton.jit
def splat_kernel(
    points,
    weights,
    offsets,
    values,
    out,
    num_rows,
    WIDTH: tl.constexpr,
    LONG: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Sum the points of each vertex with at most LONG points."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = (columns < WIDTH)[None, :]
    start = tl.load(offsets + rows, mask=rows < num_rows, other=0)
    count = tl.load(offsets + rows + 1, mask=rows < num_rows, other=0) - start
    is_short = count <= LONG
    count = tl.where(is_short, count, 0)
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for step in range(tl.max(count, axis=0)):
        is_there = step < count
        point = tl.load(points + start + step, mask=is_there, other=0).to(tl.int64)
        weight = tl.load(weights + start + step, mask=is_there, other=0.0)
        place = point[:, None] * WIDTH + columns[None, :]
        row = tl.load(values + place, mask=is_there[:, None] & is_column, other=0.0)
        total += weight[:, None] * row
    place = rows.to(tl.int64)[:, None] * WIDTH + columns[None, :]
    tl.store(out + place, total, mask=((rows < num_rows) & is_short)[:, None] & is_column)


@triton.jit
def splat_long_kernel(
    long_rows,
    points,
    weights,
    offsets,
    values,
    out,
    WIDTH: tl.constexpr,
    ENTRIES: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Sum the points of one vertex, ENTRIES at a time."""
    vertex = tl.load(long_rows + tl.program_id(0)).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    start = tl.load(offsets + vertex)
    end = tl.load(offsets + vertex + 1)
    total = tl.zeros((ENTRIES, COLUMNS), dtype=tl.float32)
    for first in range(start, end, ENTRIES):
        entries = first + tl.arange(0, ENTRIES)
        point = tl.load(points + entries, mask=entries < end, other=0).to(tl.int64)
        weight = tl.load(weights + entries, mask=entries < end, other=0.0)
        place = point[:, None] * WIDTH + columns[None, :]
        mask = (entries < end)[:, None] & (columns < WIDTH)[None, :]
        total += weight[:, None] * tl.load(values + place, mask=mask, other=0.0)
    tl.store(out + vertex * WIDTH + columns, tl.sum(total, axis=0), mask=columns < WIDTH)


@triton.jit
def blur_kernel(
    following,
    previous,
    values,
    out,
    num_rows,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Add half of both neighbours along one axis; missing neighbours are not read."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = (tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    is_row = rows < num_rows
    after = tl.load(following + rows, mask=is_row, other=-1).to(tl.int64)[:, None]
    before = tl.load(previous + rows, mask=is_row, other=-1).to(tl.int64)[:, None]
    mask = is_row[:, None] & (columns < WIDTH)
    place = rows.to(tl.int64)[:, None] * WIDTH + columns
    row = tl.load(values + place, mask=mask, other=0.0)
    a = tl.load(values + after * WIDTH + columns, mask=mask & (after >= 0), other=0.0)
    b = tl.load(values + before * WIDTH + columns, mask=mask & (before >= 0), other=0.0)
    tl.store(out + place, row + 0.5 * (a + b), mask=mask)


@triton.jit
def interpolate(
    vertices,
    weights,
    values,
    rows,
    is_row,
    columns,
    WIDTH: tl.constexpr,
    CORNERS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Sum the weighted corners of the simplex around each point."""
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for corner in tl.static_range(CORNERS):
        entry = rows.to(tl.int64) * CORNERS + corner
        vertex = tl.load(vertices + entry, mask=is_row, other=0).to(tl.int64)
        weight = tl.load(weights + entry, mask=is_row, other=0.0)
        place = vertex[:, None] * WIDTH + columns[None, :]
        mask = is_row[:, None] & (columns < WIDTH)[None, :]
        total += weight[:, None] * tl.load(values + place, mask=mask, other=0.0)
    return total


@triton.jit
def slice_kernel(
    vertices,
    weights,
    values,
    out,
    num_rows,
    WIDTH: tl.constexpr,
    CORNERS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Interpolate the values of the vertices at the points."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_row = rows < num_rows
    total = interpolate(
        vertices, weights, values, rows, is_row, columns, WIDTH, CORNERS, ROWS, COLUMNS
    )
    place = rows.to(tl.int64)[:, None] * WIDTH + columns[None, :]
    tl.store(out + place, total, mask=is_row[:, None] & (columns < WIDTH)[None, :])


@triton.jit
def update_kernel(
    log_unary,
    vertices_a,
    weights_a,
    values_a,
    factor_a,
    vertices_b,
    weights_b,
    values_b,
    factor_b,
    out,
    num_rows,
    NUM_CLASSES: tl.constexpr,
    WIDTH: tl.constexpr,
    CORNERS_A: tl.constexpr,
    CORNERS_B: tl.constexpr,
    SOFTMAX: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Slice two lattices, add them to the unary, and apply the softmax if SOFTMAX is True."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, COLUMNS)
    is_row = rows < num_rows
    mask = is_row[:, None] & (columns < WIDTH)[None, :]
    place = rows.to(tl.int64)[:, None] * WIDTH + columns[None, :]
    logits = tl.load(log_unary + place, mask=mask, other=0.0)
    logits += factor_a * interpolate(
        vertices_a, weights_a, values_a, rows, is_row, columns, WIDTH, CORNERS_A, ROWS, COLUMNS
    )
    logits += factor_b * interpolate(
        vertices_b, weights_b, values_b, rows, is_row, columns, WIDTH, CORNERS_B, ROWS, COLUMNS
    )
    if SOFTMAX:
        logits = tl.where((columns < NUM_CLASSES)[None, :], logits, float("-inf"))
        logits = tl.exp(logits - tl.max(logits, axis=1)[:, None])
        logits = logits / tl.sum(logits, axis=1)[:, None]
    tl.store(out + place, logits, mask=mask)


# fmt: on


def padded_width(num_columns: int) -> int:
    """Round up to whole 32-byte sectors, or to 16 bytes for up to four channels."""
    unit = 4 if num_columns <= 4 else 8
    return -(-num_columns // unit) * unit


def block(width: int, max_columns: int = 128) -> tuple[int, int]:
    """Return the rows and columns per program: about 1024 numbers."""
    columns = min(triton.next_power_of_2(width), max_columns)
    return max(1, 1024 // columns), columns


def pad(values: Tensor) -> Tensor:
    return F.pad(values, (0, padded_width(values.shape[1]) - values.shape[1]))


def splat(lattice: Lattice, values: Tensor) -> Tensor:
    """(P, WIDTH) -> (M, WIDTH)."""
    width = values.shape[1]
    out = values.new_empty(lattice.num_vertices, width)
    rows, columns = block(width)
    rows = max(1, rows // 2)  # in a smaller block, fewer vertices wait for the longest list
    chunks = triton.cdiv(width, columns)
    entries = (lattice.points, lattice.point_weights, lattice.offsets, values, out)
    splat_kernel[(triton.cdiv(len(out), rows), chunks)](
        *entries, len(out), width, LONG_LIST, rows, columns, num_warps=2
    )
    long_rows = lattice.vertices_with_more_than(LONG_LIST)
    if len(long_rows):
        splat_long_kernel[(len(long_rows), chunks)](long_rows, *entries, width, 32, columns)
    return out


def blur(lattice: Lattice, values: Tensor, *, reverse: bool = False) -> Tensor:
    """(M, WIDTH) -> (M, WIDTH), along all axes; `values` are overwritten."""
    rows, columns = block(values.shape[1])
    grid = (triton.cdiv(len(values), rows), triton.cdiv(values.shape[1], columns))
    axes = range(len(lattice.neighbours))
    other = torch.empty_like(values)
    for axis in reversed(axes) if reverse else axes:
        following, previous = lattice.neighbours[axis]
        blur_kernel[grid](
            following, previous, values, other, len(values), values.shape[1], rows, columns
        )
        values, other = other, values
    return values


def slice_rows(lattice: Lattice, values: Tensor) -> Tensor:
    """(M, WIDTH) -> (P, WIDTH)."""
    width = values.shape[1]
    out = values.new_empty(lattice.num_points, width)
    rows, columns = block(width)
    grid = (triton.cdiv(len(out), rows), triton.cdiv(width, columns))
    slice_kernel[grid](
        *(lattice.vertices, lattice.weights, values, out, len(out), width),
        *(lattice.vertices.shape[1], rows, columns),
    )
    return out


def filter_rows(lattice: Lattice, values: Tensor, *, reverse: bool) -> Tensor:
    """(P, C) -> (P, C): splat, blur, slice."""
    splatted = splat(lattice, pad(values))
    return slice_rows(lattice, blur(lattice, splatted, reverse=reverse))[:, : values.shape[1]]


def mean_field(
    log_unary: Tensor, terms: Sequence[tuple[Lattice, float]], *, iterations: int
) -> Tensor:
    """`torch_lattice.mean_field` for two kernels whose weights are plain numbers."""
    (lattice_a, factor_a), (lattice_b, factor_b) = terms
    num_points, num_classes = log_unary.shape
    unary = pad(log_unary)
    width = unary.shape[1]
    rows, columns = block(width, max_columns=width * 2)
    marginals = F.pad(log_unary.softmax(1), (0, width - num_classes))
    for iteration in range(iterations):
        blurred_a = blur(lattice_a, splat(lattice_a, marginals))
        blurred_b = blur(lattice_b, splat(lattice_b, marginals))
        update_kernel[(triton.cdiv(num_points, rows),)](
            unary,
            *(lattice_a.vertices, lattice_a.weights, blurred_a, float(factor_a)),
            *(lattice_b.vertices, lattice_b.weights, blurred_b, float(factor_b)),
            *(marginals, num_points, num_classes, width),
            *(lattice_a.vertices.shape[1], lattice_b.vertices.shape[1]),
            *(iteration < iterations - 1, rows, columns),
        )
    return marginals[:, :num_classes] if iterations else log_unary
