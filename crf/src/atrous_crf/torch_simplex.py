"""Place points in the permutohedral lattice: corners, weights and neighbours, in torch.

Source: Adams, Baek & Davis 2010, "Fast High-Dimensional Filtering Using the Permutohedral Lattice".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .errors import InputError

MAX_REACH = 1e6


def find_simplices(features: Tensor, *, steps: int) -> tuple[Tensor, Tensor, list[int]]:
    """Find the simplex around each point.

    A vertex has d+1 coordinates of sum zero, all with the same remainder modulo d+1. Its key is the
    sum of the first d coordinates, each times a fixed multiplier, so that a step along an axis adds
    the same number to every key.

    Returns:
        (d+1, P) int64 keys of the corners, (d+1, P) float32 barycentric weights, and the number
        that a step along each of the d+1 axes adds to a key. Keys are unique up to `steps` steps
        away from the corners.
    """
    num_images, _, d = features.shape
    elevated = _elevate(features.flatten(0, 1).float())  # (d+1, P)
    reach = elevated.abs().amax().item()
    if not reach < MAX_REACH:  # also refuses NaN
        raise InputError(
            f"features reach {reach:.1e} lattice units, but float32 is exact enough up to "
            f"{MAX_REACH:.0e} only; check them for NaN, or use wider kernels"
        )
    base = (elevated * (1 / (d + 1))).round()  # half to even, as in pydensecrf
    excess = base.sum(0).long()
    base *= d + 1
    rest = elevated - base
    rank = torch.zeros_like(rest, dtype=torch.int64)
    for i in range(d):
        is_less = rest[i] < rest[i + 1 :]  # on a tie, the later axis gets the higher rank
        rank[i] += is_less.sum(0)
        rank[i + 1 :] += ~is_less
    rank += excess
    wrap = (rank < 0).long() - (rank > d).long()
    rank += (d + 1) * wrap
    base += (d + 1) * wrap

    # The steps from corner to corner follow the axes from the last rank to the first.
    by_rank = torch.empty_like(rest).scatter_(0, rank, (elevated - base) * (1 / (d + 1))).flip(0)
    weights = torch.cat([by_rank[:1] + (1 - by_rank[-1:]), by_rank[1:] - by_rank[:-1]])

    origin, multipliers, image_multiplier = _packing(base, num_images, steps=steps)
    deltas = [sum(multipliers) - (d + 1) * multiplier for multiplier in multipliers]
    scale = torch.tensor(multipliers, device=base.device)[:, None]
    first = ((base.long() - torch.tensor(origin, device=base.device)[:, None]) * scale).sum(0)
    image = torch.arange(num_images, device=base.device) * image_multiplier
    first = (first.view(num_images, -1) + image[:, None]).view(1, -1)
    moves = torch.tensor(deltas, device=base.device)[:, None].expand(rank.shape)
    moves = torch.empty_like(rank).scatter_(0, rank, moves).flip(0)
    return torch.cat([first, moves[:-1]]).cumsum(0), weights, deltas


def _elevate(features: Tensor) -> Tensor:
    """Map (P, d) to (d+1, P) of sum zero, scaled so that cells have the width of the kernel."""
    d = features.shape[1]
    # round to float32 where pydensecrf does
    width = torch.tensor(math.sqrt(2 / 3) * (d + 1)).item()
    elevated = features.new_empty(d + 1, len(features))
    total = features.new_zeros(len(features))
    for i in range(d, 0, -1):
        scaled = features[:, i - 1] * (width / math.sqrt(i * (i + 1)))
        elevated[i] = total - i * scaled
        total = total + scaled
    elevated[0] = total
    return elevated


def _packing(base: Tensor, num_images: int, *, steps: int) -> tuple[list[int], list[int], int]:
    """Choose the origin and the multipliers of the d coordinates in a key, and of the image.

    With m = d+1, a coordinate is origin + m q + r, with the same r for all coordinates of a vertex.
    Ranges of q are rounded up to multiples of m. Then the sum of the multipliers is 1 modulo m, so
    that the key determines r and, digit by digit, every q.
    """
    m = len(base)
    reach = (m - 1) * (1 + steps)
    low = [(int(value) - reach) // m for value in base[:-1].amin(1).tolist()]
    high = [(int(value) + reach) // m for value in base[:-1].amax(1).tolist()]
    multipliers = [1]
    for start, stop in zip(low, high, strict=True):
        multipliers.append(multipliers[-1] * (-(-(stop - start + 1) // m) * m))
    cells = multipliers.pop()
    if 2 * m * cells * num_images >= 2**63:
        raise InputError(
            f"the points spread over {cells:.1e} lattice cells in {num_images} images, more than "
            "63-bit keys can tell apart; use wider kernels or refine fewer images at once"
        )
    return [*(m * start for start in low), 0], [*multipliers, 0], m * cells


def find_neighbours(keys: Tensor, deltas: list[int]) -> Tensor:
    """Look up the next and previous vertex along each axis, (d+1, 2, M) int32; -1 for none."""
    count = len(keys)
    ids = torch.arange(count, device=keys.device, dtype=torch.int32)
    neighbours = keys.new_full((len(deltas), 2, count + 1), -1, dtype=torch.int32)
    for (following, previous), delta in zip(neighbours, deltas, strict=True):
        place = torch.searchsorted(keys, keys + delta).clamp_(max=count - 1)
        found = keys[place] == keys + delta
        following[:-1] = torch.where(found, place, -1)
        # If b is next to a, a is previous to b. A vertex without a next one writes to the spare.
        previous.scatter_(0, torch.where(found, place, count), ids)
    return neighbours[..., :-1].contiguous()
