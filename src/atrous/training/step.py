"""One step of the optimizer: forward, loss, backward, over all processes of a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import InputError, OutOfMemoryError
from ..models import DeepLab
from ..models.recompute import recomputed
from .distributed import Processes
from .losses import multiscale_losses
from .optimizer import BATCH_NORMS, poly_factor
from .recipe import Recipe

Batches = Iterator[tuple[Tensor, Tensor]]
COARSE_STRIDE = 16


class BatchLoss(nn.Module):
    """The network and its summed loss as one module, which is what several processes share.

    Attributes:
        model: The network.
        divides_batch: Whether other processes hold parts of the same batch, so that known pixels
            are counted over all of them.
    """

    def __init__(
        self,
        model: DeepLab,
        recipe: Recipe,
        *,
        class_weights: Tensor | None,
        processes: Processes,
        divides_batch: bool,
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.class_weights = class_weights
        self.total = processes.all_reduce_sum if divides_batch else None
        self.dtype = getattr(torch, recipe.compute.precision)

    def forward(self, images: Tensor, labels: Tensor, *, at_pixels: bool) -> Tensor:
        """Give the summed loss of a batch, or this process's part of it.

        Args:
            images: (N, 3, H, W) float32, normalised.
            labels: (N, H, W) int64, 255 unknown.
            at_pixels: As in `multiscale_losses`.

        Returns:
            A float32 scalar.
        """
        if self.dtype == torch.float32:
            maps = self._score(images)
        else:
            with torch.autocast(images.device.type, self.dtype):
                maps = self._score(images)
        losses = multiscale_losses(
            [scores.float() for scores in maps],
            labels,
            align_corners=self.model.align_corners,
            at_pixels=at_pixels,
            class_weights=self.class_weights,
            upsample=self.model.upsample,
            total=self.total,
        )
        return torch.stack(losses).sum()

    def _score(self, images: Tensor) -> list[Tensor]:
        model = self.model
        if self.recipe.loss.msc_backward == "joint":
            return model.forward_scales(images)
        # Backward takes the scales in reverse: each is computed again, with the same random
        # numbers, just before its gradients, and dropped after them.
        return [
            recomputed(model.forward_scale, images, scale, norms_of=model) for scale in model.scales
        ]


class Stepper:
    """Takes the steps of a run.

    Attributes:
        waited_s: Seconds that steps have waited for data so far.
    """

    def __init__(
        self,
        model: DeepLab,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        *,
        kept: list[nn.Module],
        class_weights: Tensor | None,
        device: torch.device,
        processes: Processes,
    ) -> None:
        """Prepare the network for its steps.

        Raises:
            InputError: If precision, batch norms or the number of processes do not allow what the
                recipe says.
        """
        self.model = model
        self.optimizer = optimizer
        self.recipe = recipe
        self.kept = kept
        self.device = device
        self.processes = processes
        self.waited_s = 0.0
        self.batch_size, self.accumulate = share_batch(recipe, processes.count)
        check_precision(recipe.compute.precision, device)
        if recipe.loss.msc_backward == "sequential":
            refuse_trained_norms(model, kept)
        model.set_grad_checkpointing(recipe.compute.grad_checkpointing)
        if recipe.compute.compile:
            model.backbone.compile()
            model.head.compile()
        self.loss: nn.Module = BatchLoss(
            model,
            recipe,
            class_weights=class_weights,
            processes=processes,
            divides_batch=self.batch_size < recipe.optimizer.batch_size,
        )
        is_scaled = recipe.compute.precision == "float16"
        self.scaler = torch.amp.GradScaler(device.type, enabled=is_scaled)

    def connect(self) -> None:
        """Join the other processes, once all of them are ready: it waits for them."""
        if self.processes.count > 1:
            self.loss = DistributedDataParallel(
                self.loss,
                device_ids=[self.device.index] if self.device.type == "cuda" else None,
                gradient_as_bucket_view=True,
            )

    def step(self, batches: Batches, iteration: int) -> float:
        """Take the step after `iteration` others.

        Returns:
            The summed loss over all processes, averaged over micro-batches.
        """
        recipe = self.recipe
        is_coarse = iteration < recipe.loss.coarse_iterations
        self.model.set_output_stride(COARSE_STRIDE if is_coarse else recipe.network.output_stride)
        self.model.train()
        for module in self.kept:
            module.eval()
        factor = poly_factor(iteration, recipe.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        # Dropout's numbers follow from the iteration, so a resumed run draws the same ones.
        torch.manual_seed(dropout_seed(recipe.seed, iteration, self.processes.rank))
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for index in range(self.accumulate):
            is_last = index == self.accumulate - 1
            at_pixels = recipe.loss.at_pixels and not is_coarse
            total += self._backward(self._next(batches), at_pixels=at_pixels, is_last=is_last)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return float(self.processes.all_reduce_sum(total))

    def _next(self, batches: Batches) -> tuple[Tensor, Tensor]:
        start = time.monotonic()
        images, labels = self.processes.run_collectively(lambda: next(batches))
        self.waited_s += time.monotonic() - start
        is_channels_last = self.recipe.compute.channels_last
        layout = torch.channels_last if is_channels_last else torch.contiguous_format
        images = images.to(self.device, memory_format=layout, non_blocking=True)
        return images, labels.to(self.device, non_blocking=True)

    def _backward(self, batch: tuple[Tensor, Tensor], *, at_pixels: bool, is_last: bool) -> Tensor:
        """Add a micro-batch's gradients; returns its part of the step's loss."""
        waits = contextlib.nullcontext()
        if not is_last and isinstance(self.loss, DistributedDataParallel):
            waits = self.loss.no_sync()  # gradients are added up with the last micro-batch
        try:
            with waits:
                loss = self.loss(*batch, at_pixels=at_pixels) / self.recipe.optimizer.accumulate
                # DDP gives the mean over the processes; the parts of a batch have to be added.
                self.scaler.scale(loss * self.processes.count).backward()
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"{self.device} has too little memory for a step; lower optimizer.batch_size (and "
                "raise optimizer.accumulate as much) or augment.crop_hw, or set "
                "compute.grad_checkpointing = true"
            ) from error
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """What the next step depends on, beside the network and the optimizer."""
        return self.scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        if state:
            self.scaler.load_state_dict(state)


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def share_batch(recipe: Recipe, count: int) -> tuple[int, int]:
    """Divide a step's samples among processes so that the step stays what one would take.

    Each micro-batch is divided where that goes; otherwise whole micro-batches are dealt out.

    Args:
        recipe: The recipe; `batch_size` and `accumulate` are those of all processes together.
        count: Number of processes.

    Returns:
        Samples of a forward pass, and forward passes of a step, in each process.

    Raises:
        InputError: If neither is divisible by the number of processes.
    """
    batch_size, accumulate = recipe.optimizer.batch_size, recipe.optimizer.accumulate
    if batch_size % count == 0:
        return batch_size // count, accumulate
    if recipe.optimizer.sync_bn:
        raise InputError(
            f"optimizer.sync_bn divides each batch, but optimizer.batch_size = {batch_size} is not "
            f"divisible by {count} processes; choose another number of processes or batch size"
        )
    if accumulate % count == 0:
        return batch_size, accumulate // count
    raise InputError(
        f"neither optimizer.batch_size = {batch_size} nor optimizer.accumulate = {accumulate} is "
        f"divisible by {count} processes, which share them; choose another number of processes"
    )


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that the device has no use for."""
    if precision == "float16" and device.type != "cuda":
        raise InputError(
            f"compute.precision is 'float16', which needs a CUDA device, and this run is on "
            f"{device.type}; set it to 'bfloat16' or 'float32'"
        )


def refuse_trained_norms(model: DeepLab, kept: list[nn.Module]) -> None:
    """Refuse sequential scales where a batch norm trains, in the head too."""
    frozen = {id(m) for module in kept for m in module.modules()}
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, BATCH_NORMS) and id(module) not in frozen
    ]
    if names:
        raise InputError(
            f"loss.msc_backward is 'sequential', which runs each scale twice, but the batch norm "
            f"{names[0]} trains; use a head without batch norms, or loss.msc_backward = 'joint'"
        )


def dropout_seed(seed: int, iteration: int, rank: int) -> int:
    """Give every step of every process a seed of its own."""
    return int(np.random.SeedSequence([seed, 2, iteration, rank]).generate_state(1)[0])
