"""Which parameters learn, how fast, and how the rate falls."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..models import DeepLab
from .recipe import OptimizerConfig

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def poly_factor(iteration: int, config: OptimizerConfig) -> float:
    """Give the share of the base rate at an iteration (paper, table 2), warm-up included."""
    warmup = min(1.0, (iteration + 1) / (config.warmup_iterations + 1))
    return warmup * (1 - iteration / config.iterations) ** config.power


def make_optimizer(model: DeepLab, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build the optimizer; each group's rate at factor 1 stands in its `base_lr`."""
    groups = caffe_groups(model, config) if config.kind == "sgd" else adamw_groups(model, config)
    for group in groups:
        group["base_lr"] = group["lr"]
    groups = [group for group in groups if group["params"]]
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def caffe_groups(model: DeepLab, config: OptimizerConfig) -> list[dict[str, Any]]:
    """The groups of the original solver files.

    Last-layer weights learn at x10 and their biases at x20; other biases (VGG's) at x2. Biases do
    not decay, nor do the affine parameters of a batch norm.
    """
    rate, decay = config.learning_rate, config.weight_decay
    last = {id(p) for p in last_layer(model)}
    groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    affine = {id(p) for m in model.modules() if isinstance(m, BATCH_NORMS) for p in m.parameters()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_affine = id(parameter) in affine
            key = (id(parameter) in last, name.endswith("bias") and not is_affine, is_affine)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate * (config.head_lr_factor if is_last else 1) * (2 if is_bias else 1),
            "weight_decay": 0.0 if is_bias or is_affine else decay,
        }
        for (is_last, is_bias, is_affine), parameters in groups.items()
    ]


def adamw_groups(model: DeepLab, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Head and backbone apart; vectors (biases, batch norms) do not decay."""
    last = {id(p) for p in last_layer(model)}
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {
            "params": [p for p in trained if (id(p) in last) == is_last and (p.ndim > 1) == decays],
            "lr": config.learning_rate * (config.head_lr_factor if is_last else 1),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for is_last in (False, True)
        for decays in (False, True)
    ]


def last_layer(model: DeepLab) -> list[nn.Parameter]:
    """The parameters that begin at random: the head; of VGG's branches fc8 alone."""
    named = list(model.head.named_parameters())
    fc8 = [p for name, p in named if ".fc8." in name]
    return fc8 or [p for _, p in named]


def freeze(model: DeepLab, config: OptimizerConfig) -> list[nn.Module]:
    """Switch off the gradients of what a recipe keeps; returns the modules to hold in eval mode."""
    kept: list[nn.Module] = []
    if config.freeze_bn:
        kept += [m for m in model.backbone.modules() if isinstance(m, BATCH_NORMS)]
    if config.frozen_stages:
        kept += model.backbone.first_layers(config.frozen_stages)  # type: ignore[operator]
    for module in kept:
        module.requires_grad_(False)
    return kept


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move an average of weights and statistics towards a model."""
    current = model.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])
