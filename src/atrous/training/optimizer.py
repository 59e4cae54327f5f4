"""The optimizer, its learning rates and the weight average."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..models import DeepLab
from .recipe import OptimizerConfig

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def poly_factor(iteration: int, config: OptimizerConfig) -> float:
    """Return the factor of the base learning rate at an iteration: poly decay with warm-up.

    Source: Chen et al. 2018, table 2.
    """
    warmup = min(1.0, (iteration + 1) / (config.warmup_iterations + 1))
    return warmup * (1 - iteration / config.iterations) ** config.power


def make_optimizer(model: DeepLab, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Build the optimizer; `base_lr` of each group is its learning rate at factor 1."""
    groups = caffe_groups(model, config) if config.kind == "sgd" else adamw_groups(model, config)
    for group in groups:
        group["base_lr"] = group["lr"]
    groups = [group for group in groups if group["params"]]
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def caffe_groups(model: DeepLab, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Group parameters as the original solver files do.

    The learning rate is times 10 for weights of the last layer, times 20 for its biases, and times
    2 for other biases (VGG's). Biases and the affine parameters of batch norms have no weight
    decay.
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
    """Group head and backbone separately; vectors (biases, batch norms) have no weight decay."""
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
    """Return the parameters of the head that start at random: of VGG's branches only fc8."""
    named = list(model.head.named_parameters())
    fc8 = [p for name, p in named if ".fc8." in name]
    return fc8 or [p for _, p in named]


def freeze(model: DeepLab, config: OptimizerConfig) -> list[nn.Module]:
    """Turn off the gradients of the modules that a recipe does not train.

    Returns:
        These modules, which must stay in evaluation mode.
    """
    frozen: list[nn.Module] = []
    if config.freeze_bn:
        frozen += [m for m in model.backbone.modules() if isinstance(m, BATCH_NORMS)]
    if config.frozen_stages:
        frozen += model.backbone.first_layers(config.frozen_stages)  # type: ignore[operator]
    for module in frozen:
        module.requires_grad_(False)
    return frozen


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Update a moving average of weights and batch norm statistics with those of a model."""
    current = model.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(current[name], 1 - decay)
        else:
            value.copy_(current[name])
