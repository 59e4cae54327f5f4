"""`Stepper`: one step of the optimizer, with forward, loss and backward, in all processes."""

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
    """The network and its summed loss as one module, as DistributedDataParallel needs it.

    Args:
        model: The network.
        recipe: The recipe.
        class_weights: (K,) factors, or None.
        processes: The processes of the run.
        divides_batch: Whether other processes compute parts of the same batch, so that known
            pixels must be counted over all of them.
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
        self.sum_over_processes = processes.all_reduce_sum if divides_batch else None
        self.dtype = getattr(torch, recipe.compute.precision)

    def forward(self, images: Tensor, labels: Tensor, *, at_pixels: bool) -> Tensor:
        """Compute the summed loss of a batch, or this process's part of it.

        Args:
            images: (N, 3, H, W) float32, normalised.
            labels: (N, H, W) int64, 255 unknown.
            at_pixels: As in `multiscale_losses`.

        Returns:
            A float32 scalar.
        """
        if self.dtype == torch.float32:
            logits = self._logits(images)
        else:
            with torch.autocast(images.device.type, self.dtype):
                logits = self._logits(images)
        losses = multiscale_losses(
            [scores.float() for scores in logits],
            labels,
            align_corners=self.model.align_corners,
            at_pixels=at_pixels,
            class_weights=self.class_weights,
            upsample=self.model.upsample,
            sum_over_processes=self.sum_over_processes,
        )
        return torch.stack(losses).sum()

    def _logits(self, images: Tensor) -> list[Tensor]:
        model = self.model
        if self.recipe.loss.msc_backward == "joint":
            return model.forward_scales(images)
        # The backward pass visits the scales in reverse order: it recomputes the activations of
        # one scale with the same random numbers, uses them for the gradients and frees them.
        return [
            recomputed(model.forward_scale, images, scale, norms_of=model) for scale in model.scales
        ]


class Stepper:
    """Takes the steps of a run.

    Attributes:
        batch_size: Samples per forward pass in this process.
        accumulate: Forward passes per step in this process.
        loss: `BatchLoss`, wrapped in DistributedDataParallel if there are several processes.
        waited_s: Seconds that steps have waited for data so far.
    """

    def __init__(
        self,
        model: DeepLab,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        *,
        frozen_modules: list[nn.Module],
        class_weights: Tensor | None,
        device: torch.device,
        processes: Processes,
    ) -> None:
        """Prepare the network for training.

        Args:
            model: The network, on its device.
            optimizer: Built by `make_optimizer`.
            recipe: The recipe.
            frozen_modules: Modules that stay in evaluation mode (`freeze`).
            class_weights: (K,) factors on the device, or None.
            device: Device of the network.
            processes: The processes of the run.

        Raises:
            InputError: If the recipe does not fit the device, the batch norms or the number of
                processes.
        """
        self.model = model
        self.optimizer = optimizer
        self.recipe = recipe
        self.frozen_modules = frozen_modules
        self.device = device
        self.processes = processes
        self.waited_s = 0.0
        self.batch_size, self.accumulate = share_batch(recipe, processes.count)
        check_precision(recipe.compute.precision, device)
        if recipe.loss.msc_backward == "sequential":
            refuse_trained_norms(model, frozen_modules)
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
        """Connect the network to the other processes; waits until all of them are ready."""
        if self.processes.count > 1:
            self.loss = DistributedDataParallel(
                self.loss,
                device_ids=[self.device.index] if self.device.type == "cuda" else None,
                gradient_as_bucket_view=True,
            )

    def step(self, batches: Batches, iteration: int) -> float:
        """Take one step.

        Args:
            batches: One batch is read per forward pass.
            iteration: Number of steps taken before.

        Returns:
            The summed loss over all processes, averaged over micro-batches.
        """
        recipe = self.recipe
        is_coarse = iteration < recipe.loss.coarse_iterations
        self.model.set_output_stride(COARSE_STRIDE if is_coarse else recipe.network.output_stride)
        self.model.train()
        for module in self.frozen_modules:
            module.eval()
        factor = poly_factor(iteration, recipe.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        # Dropout's seed depends on the iteration, so a resumed run draws the same numbers.
        torch.manual_seed(dropout_seed(recipe.seed, iteration, self.processes.rank))
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for index in range(self.accumulate):
            is_last = index == self.accumulate - 1
            at_pixels = recipe.loss.at_pixels and not is_coarse
            total += self._backward(self._next_batch(batches), at_pixels=at_pixels, is_last=is_last)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return float(self.processes.all_reduce_sum(total))

    def _next_batch(self, batches: Batches) -> tuple[Tensor, Tensor]:
        start = time.monotonic()
        images, labels = self.processes.run_collectively(lambda: next(batches))
        self.waited_s += time.monotonic() - start
        is_channels_last = self.recipe.compute.channels_last
        layout = torch.channels_last if is_channels_last else torch.contiguous_format
        images = images.to(self.device, memory_format=layout, non_blocking=True)
        return images, labels.to(self.device, non_blocking=True)

    def _backward(self, batch: tuple[Tensor, Tensor], *, at_pixels: bool, is_last: bool) -> Tensor:
        """Add the gradients of a micro-batch; returns its part of the step's loss."""
        sync = contextlib.nullcontext()
        if not is_last and isinstance(self.loss, DistributedDataParallel):
            sync = self.loss.no_sync()  # the last micro-batch sums the gradients over processes
        try:
            with sync:
                loss = self.loss(*batch, at_pixels=at_pixels) / self.recipe.optimizer.accumulate
                # DDP averages over the processes, but the parts of a batch must be summed.
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
        """Return the state of the loss scaler."""
        return self.scaler.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        if state:
            self.scaler.load_state_dict(state)


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


def share_batch(recipe: Recipe, count: int) -> tuple[int, int]:
    """Divide the samples of a step among processes; the step equals that of one process.

    Each micro-batch is divided if possible; otherwise each process gets whole micro-batches.

    Args:
        recipe: The recipe; `batch_size` and `accumulate` count over all processes.
        count: Number of processes.

    Returns:
        Samples per forward pass, and forward passes per step, in each process.

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
    """Refuse a precision that the device does not support."""
    if precision == "float16" and device.type != "cuda":
        raise InputError(
            f"compute.precision is 'float16', which needs a CUDA device, and this run is on "
            f"{device.type}; set it to 'bfloat16' or 'float32'"
        )


def refuse_trained_norms(model: DeepLab, frozen_modules: list[nn.Module]) -> None:
    """Refuse sequential scales if a batch norm is trained, in the backbone or the head."""
    frozen = {id(m) for module in frozen_modules for m in module.modules()}
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, BATCH_NORMS) and id(module) not in frozen
    ]
    if names:
        raise InputError(
            f"loss.msc_backward is 'sequential', which runs each scale twice, but the batch norm "
            f"{names[0]} is trained; use a head without batch norms, or loss.msc_backward = 'joint'"
        )


def dropout_seed(seed: int, iteration: int, rank: int) -> int:
    """Return a seed that differs for every step and every process."""
    return int(np.random.SeedSequence([seed, 2, iteration, rank]).generate_state(1)[0])
