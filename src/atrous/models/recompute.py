"""Gradient checkpointing: run a block twice instead of keeping what lies inside it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_block(block: nn.Module, x: Tensor, *, recompute: bool) -> Tensor:
    """Run a block; with `recompute` its insides are computed again when gradients need them.

    Dropout draws the same mask both times, and batch norms count the batch once.
    """
    if not (recompute and torch.is_grad_enabled()):
        return block(x)
    return recomputed(block, x, norms_of=block)


def recomputed(function: Callable[..., Tensor], *args: object, norms_of: nn.Module) -> Tensor:
    """Call a function without keeping its insides; `norms_of` holds the batch norms in it."""
    return checkpoint(
        function,
        *args,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), _statistics_kept(norms_of)),
    )


@contextlib.contextmanager
def _statistics_kept(module: nn.Module) -> Generator[None]:
    """Let batch norms use their batch without moving their running statistics."""
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
