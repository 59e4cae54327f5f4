"""Batch norm over the batches of all processes; unlike torch's, it runs on CPUs too."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

PIXELS = (0, 2, 3)  # the axes of (N, C, H, W) that statistics run over


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` with mean and variance over the batches of all processes.

    Parameter and buffer names are the same. In evaluation mode, or with one process, it computes a
    plain batch norm.
    """

    def forward(self, input: Tensor) -> Tensor:  # nn.BatchNorm2d's name
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        result, mean, variance, count = _SyncedNorm.apply(input, self.weight, self.bias, self.eps)  # pyright: ignore[reportGeneralTypeIssues]
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            unbiased = variance * (count / (count - 1).clamp(min=1))
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        return result


class _SyncedNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wide = x.float()
        count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
        sums = torch.cat([wide.sum(PIXELS), count])
        dist.all_reduce(sums)
        count = sums[-1:]
        mean = sums[:-1] / count
        # Two passes: the mean of squares minus the square of the mean would lose digits.
        squares = (wide - mean.view(1, -1, 1, 1)).square().sum(PIXELS)
        dist.all_reduce(squares)
        variance = squares / count
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt(), count)
        ctx.mark_non_differentiable(mean, variance, count)
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad: Tensor, *_: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, inverse_std, count = ctx.saved_tensors
        shape = (1, -1, 1, 1)
        normal = (x.float() - mean.view(shape)) * inverse_std.view(shape)
        grad_bias = grad.float().sum(PIXELS)
        grad_weight = (grad.float() * normal).sum(PIXELS)
        sums = torch.stack([grad_bias, grad_weight])
        dist.all_reduce(sums)
        means = sums / count  # over all pixels of all processes
        centred = grad.float() - means[0].view(shape) - normal * means[1].view(shape)
        grad_x = centred * (weight.float() * inverse_std).view(shape)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype), grad_bias.to(weight.dtype), None


def sync_batch_norms(module: nn.Module) -> None:
    """Replace each plain batch norm by a synced one with the same parameters and buffers."""
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            synced = SyncedBatchNorm2d(child.num_features, child.eps, child.momentum)
            synced.weight, synced.bias = child.weight, child.bias
            for buffer, value in child.named_buffers():
                setattr(synced, buffer, value)
            setattr(module, name, synced)
        else:
            sync_batch_norms(child)
