"""Gradient checkpointing: recompute activations in the backward pass instead of keeping them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, x: Tensor, *, recompute: bool) -> Tensor:
    """Run a block; with `recompute`, the backward pass recomputes its activations.

    Dropout draws the same mask both times, and batch norm statistics are updated once.
    """
    if not (recompute and torch.is_grad_enabled()):
        return block(x)
    return recomputed(block, x, norms_of=block)


def recomputed(function: Callable[..., Tensor], *args: object, norms_of: nn.Module) -> Tensor:
    """Call a function without keeping its activations; `norms_of` holds its batch norms."""
    return checkpoint(
        function,
        *args,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), _frozen_statistics(norms_of)),
    )


@contextlib.contextmanager
def _frozen_statistics(module: nn.Module) -> Generator[None]:
    """Let batch norms normalise by their batch without updating their running statistics."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
