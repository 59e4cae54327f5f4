"""Ways to compute a step: each gives the step of the plain way, or says why it cannot."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from atrous.models import build_network
from atrous.training.distributed import ALONE
from atrous.training.optimizer import freeze, make_optimizer
from atrous.training.recipe import recipe_from_table
from atrous.training.step import Stepper, dropout_seed

pytestmark = pytest.mark.usefixtures("narrow_resnet18")

RESNET = {"name": "deeplabv2_resnet18", "head": "conv1x1"}
# The paper's VGG head: dropout twice in it.
VGG = {"name": "deeplabv2_vgg16", "head": "largefov"}
SCALES = (1.0, 0.75, 0.5)


def config_of(**tables):
    base = {
        "name": "x",
        "network": RESNET,
        "optimizer": {"learning_rate": 1e-3, "iterations": 10, "accumulate": 1},
    }
    for key, values in tables.items():
        base[key] = {**base.get(key, {}), **values} if isinstance(values, dict) else values
    return recipe_from_table(base)


def stepper_of(config, *, device="cpu"):
    torch.manual_seed(0)
    model = build_network(config.network_for(3), scales=config.scales).to(device)
    frozen = freeze(model, config.optimizer)
    return Stepper(
        model,
        make_optimizer(model, config.optimizer),
        config,
        frozen_modules=frozen,
        class_weights=None,
        device=torch.device(device),
        processes=ALONE,
    )


def batches(size=33):
    generator = torch.Generator().manual_seed(1)
    while True:
        labels = torch.randint(0, 3, (2, size, size), generator=generator)
        labels[:, : size // 3] = 255
        yield torch.randn(2, 3, size, size, generator=generator), labels


def gradients(config, *, device="cpu"):
    """Take one step; returns its loss and the gradients that it followed."""
    stepper = stepper_of(config, device=device)
    loss = stepper.step(batches(), 0)
    named = stepper.model.named_parameters()
    return loss, {name: p.grad.cpu() for name, p in named if p.grad is not None}


def assert_close(ours, theirs, *, rtol):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        error = (ours[name] - value).norm() / value.norm().clamp(min=1e-12)
        assert error <= rtol, f"{name}: {error:.2e}"


@pytest.mark.parametrize("network", [RESNET, VGG], ids=["bn", "drop"])
def test_sequential_scales_give_the_gradients_of_joint_ones(network):
    """Frozen batch norms, and dropout that draws the same masks again."""
    loss, joint = gradients(config_of(network=network, scales=SCALES))
    again, sequential = gradients(
        config_of(network=network, scales=SCALES, loss={"msc_backward": "sequential"})
    )
    assert again == loss
    assert_close(sequential, joint, rtol=1e-6)


def test_sequential_scales_keep_only_score_maps_between_the_passes():
    kept = {}
    for way in ("joint", "sequential"):
        stepper = stepper_of(config_of(scales=SCALES, loss={"msc_backward": way}))
        sizes = {}

        def pack(tensor, sizes=sizes):
            sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        images, labels = next(batches(129))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            stepper.loss(images, labels, at_pixels=False)
        kept[way] = sum(sizes.values()) - images.nbytes
    assert kept["sequential"] < kept["joint"] / 20


def test_sequential_scales_need_frozen_batch_norms():
    loss = {"msc_backward": "sequential"}
    with pytest.raises(ValueError, match="batch norms are trained; set optimizer.freeze_bn = true"):
        config_of(scales=SCALES, loss=loss, optimizer={"freeze_bn": False})
    with pytest.raises(ValueError, match=r"the batch norm head\.pointwise\.1 is trained"):
        stepper_of(config_of(network={**RESNET, "head": "aspp_concat"}, scales=SCALES, loss=loss))


@pytest.mark.parametrize("freeze_bn", [True, False])
def test_checkpointed_blocks_give_the_gradients_of_a_plain_step(freeze_bn):
    optimizer = {"freeze_bn": freeze_bn}
    loss, plain = gradients(config_of(optimizer=optimizer))
    compute = {"grad_checkpointing": True}
    again, checkpointed = gradients(config_of(optimizer=optimizer, compute=compute))
    assert again == loss
    assert_close(checkpointed, plain, rtol=1e-6)


def test_the_layout_of_images_changes_rounding_alone():
    loss, plain = gradients(config_of(compute={"channels_last": False}))
    again, last = gradients(config_of())
    assert again == pytest.approx(loss, rel=1e-4)
    assert_close(last, plain, rtol=1e-3)


def test_bfloat16_is_near_float32_and_leaves_weights_as_they_are():
    config = config_of(optimizer={"freeze_bn": False}, compute={"precision": "bfloat16"})
    loss, half = gradients(config)
    full_loss, full = gradients(config_of(optimizer={"freeze_bn": False}))
    assert loss != full_loss
    assert loss == pytest.approx(full_loss, rel=0.02)
    assert {gradient.dtype for gradient in half.values()} == {torch.float32}
    head = "head.branches.0.weight"
    assert nn.functional.cosine_similarity(half[head].ravel(), full[head].ravel(), dim=0) > 0.99


def test_float16_needs_cuda():
    with pytest.raises(ValueError, match="precision is 'float16', which needs a CUDA device"):
        stepper_of(config_of(compute={"precision": "float16"}))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_on_cuda_is_near_float32(precision):
    compute = {"precision": precision}
    loss, half = gradients(
        config_of(optimizer={"freeze_bn": False}, compute=compute), device="cuda"
    )
    full_loss, full = gradients(config_of(optimizer={"freeze_bn": False}), device="cuda")
    assert loss == pytest.approx(full_loss, rel=0.02)
    head = "head.branches.0.weight"
    assert nn.functional.cosine_similarity(half[head].ravel(), full[head].ravel(), dim=0) > 0.99


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_compiled_network_takes_the_plain_step():
    loss, plain = gradients(config_of())
    again, compiled = gradients(config_of(compute={"compile": True}))
    assert again == pytest.approx(loss, rel=1e-4)
    assert_close(compiled, plain, rtol=1e-3)


def test_compile_and_checkpointed_blocks_exclude_each_other():
    with pytest.raises(ValueError, match="compute.compile and compute.grad_checkpointing exclude"):
        config_of(compute={"compile": True, "grad_checkpointing": True})


def test_sequential_scales_need_several():
    with pytest.raises(ValueError, match="scales has one scale"):
        config_of(loss={"msc_backward": "sequential"})


def test_dropout_differs_by_step_and_process():
    seeds = {dropout_seed(0, iteration, rank) for iteration in range(20) for rank in range(4)}
    assert len(seeds) == 80


def test_waiting_for_data_is_counted():
    def slow_batches():
        for batch in batches():
            time.sleep(0.05)
            yield batch

    stepper = stepper_of(config_of())
    stepper.step(slow_batches(), 0)
    assert stepper.waited_s >= 0.05
