"""A plain PyTorch training loop, as the ports of DeepLab v2 write it.

Eager float32, channels first, all scales in one graph, Pillow transforms in DataLoader workers.
Network, loss, schedule and data come from the recipe, so that both loops compute the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from atrous.data import Dataset
from atrous.models import DeepLab, build_network
from atrous.models.depthwise import DepthwiseConv2d
from atrous.training import Recipe
from atrous.training.data import open_data
from atrous.training.init_weights import load_init_weights
from atrous.training.losses import multiscale_losses
from atrous.training.optimizer import freeze, make_optimizer, poly_factor


class PillowSamples(TorchDataset[tuple[Tensor, Tensor]]):
    """Scale, pad, crop and mirror with Pillow and numpy; normalise in float."""

    def __init__(self, dataset: Dataset, config: Recipe) -> None:
        self.dataset = dataset
        self.config = config

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.dataset.pairs[index]
        image = Image.open(pair.image).convert("RGB")
        labels = Image.fromarray(self.dataset.read_labels(pair.labels).astype(np.uint8))
        scale = random.choice(self.config.augment.scales)
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.BILINEAR)
        labels = labels.resize(size, Image.Resampling.NEAREST)
        return self._crop(np.asarray(image, np.float32), np.asarray(labels, np.int64))

    def _crop(self, image: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        rule, (rows, columns) = self.config.preprocess, self.config.augment.crop_hw
        if rule.channel_order == "bgr":
            image = image[..., ::-1]
        image = (image - np.array(rule.mean, np.float32)) / np.array(rule.std, np.float32)
        down, right = max(0, rows - image.shape[0]), max(0, columns - image.shape[1])
        image = np.pad(image, ((0, down), (0, right), (0, 0)))
        labels = np.pad(labels, ((0, down), (0, right)), constant_values=255)
        top = random.randint(0, image.shape[0] - rows)
        left = random.randint(0, image.shape[1] - columns)
        image = image[top : top + rows, left : left + columns]
        labels = labels[top : top + rows, left : left + columns]
        if self.config.augment.mirror and random.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        return (
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            torch.from_numpy(np.ascontiguousarray(labels)),
        )


class PlainLoop:
    """Takes the steps of a recipe."""

    def __init__(self, config: Recipe, device: str) -> None:
        self.config = config
        self.device = torch.device(device)
        random.seed(config.seed)
        torch.manual_seed(config.seed)
        self.train_set, self.val_set = open_data(config)
        self.model = build_network(
            config.network_for(self.train_set.label_set.num_classes), scales=config.scales
        )
        load_init_weights(self.model, config.init)
        use_plain_convolutions(self.model)
        self.model.to(self.device)
        self.frozen_modules = freeze(self.model, config.optimizer)
        self.optimizer = make_optimizer(self.model, config.optimizer)
        self.iteration = 0

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        if len(self.train_set) < self.config.optimizer.batch_size:  # an epoch would be empty
            raise ValueError(
                f"{len(self.train_set)} image(s) make no batch of "
                f"{self.config.optimizer.batch_size}; take a smaller --batch"
            )
        loader = DataLoader(
            PillowSamples(self.train_set, self.config),
            batch_size=self.config.optimizer.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=self.config.data.workers,
            pin_memory=self.device.type == "cuda",
            persistent_workers=self.config.data.workers > 0,
        )
        while True:
            yield from loader

    def step(self, batches: Iterator[tuple[Tensor, Tensor]]) -> float:
        optimizer = self.config.optimizer
        self.model.train()
        for module in self.frozen_modules:
            module.eval()
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * poly_factor(self.iteration, optimizer)
        self.optimizer.zero_grad()
        total = 0.0
        for _ in range(optimizer.accumulate):
            images, labels = next(batches)
            losses = self.losses(images.to(self.device), labels.to(self.device))
            loss = torch.stack(losses).sum() / optimizer.accumulate
            loss.backward()
            total += loss.item()
        self.optimizer.step()
        self.iteration += 1
        return total

    def losses(self, images: Tensor, labels: Tensor) -> list[Tensor]:
        return multiscale_losses(
            self.model.forward_scales(images),
            labels,
            align_corners=self.config.network.align_corners,
            at_pixels=self.config.loss.at_pixels,
            upsample=self.model.upsample,
        )


def use_plain_convolutions(model: DeepLab) -> None:
    """Replace the depthwise convolutions of atrous by PyTorch's, with the same weights."""
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, DepthwiseConv2d):
                setattr(parent, name, _plain(child))


def _plain(conv: DepthwiseConv2d) -> nn.Conv2d:
    options: dict[str, Any] = {
        key: getattr(conv, key) for key in ("kernel_size", "stride", "padding", "dilation")
    }
    plain = nn.Conv2d(
        conv.in_channels, conv.out_channels, groups=conv.groups, bias=False, **options
    )
    plain.weight = conv.weight
    return plain
