"""Gradient checkpointing gives the gradients and statistics of a plain pass, from less memory."""

import copy

import pytest
import torch

from atrous.models import create_model

NETWORKS = [
    ("deeplabv2_resnet18", "conv1x1"),
    ("deeplabv2_efficientnet_lite0", "conv1x1"),
    ("deeplabv2_vgg16", "conv1x1"),
]


def run_once(model, images):
    model(images).square().sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return gradients, dict(model.named_buffers())


@pytest.mark.parametrize(("name", "head"), NETWORKS, ids=[name for name, _ in NETWORKS])
def test_gradients_and_statistics_are_those_of_a_plain_pass(name, head):
    torch.manual_seed(0)
    plain = create_model(name, 3, head=head)
    checkpointed = copy.deepcopy(plain)
    checkpointed.set_grad_checkpointing(True)
    images = torch.randn(2, 3, 33, 33, generator=torch.Generator().manual_seed(0))
    gradients, statistics = run_once(plain, images)
    again, statistics_again = run_once(checkpointed, images)
    for name, gradient in gradients.items():
        assert torch.equal(gradient, again[name]), name
    for name, value in statistics.items():
        assert torch.equal(value, statistics_again[name]), name


def kept_bytes(model, images):
    """Count what autograd keeps between the passes."""
    sizes = {}

    def pack(tensor):
        sizes[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return sum(sizes.values()) - sum(p.nbytes for p in model.parameters())


def test_less_is_kept():
    model = create_model("deeplabv2_resnet18", 3, head="conv1x1")
    images = torch.randn(1, 3, 129, 129, generator=torch.Generator().manual_seed(0))
    plain = kept_bytes(model, images)
    model.set_grad_checkpointing(True)
    assert kept_bytes(model, images) < plain / 2
