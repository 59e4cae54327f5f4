"""The four multi-scale losses and their gradients, equal to the reference's on the same weights.

The port's list is (1x, 0.5x, 0.75x, fused), Caffe's (fused, 1x, 0.75x, 0.5x); ours is fused first,
then the scales in the order of the model.
"""

import numpy as np
import pytest
import torch

from atrous.training.losses import multiscale_losses

SCALES = (1.0, 0.75, 0.5)
# name in the golden files -> ours
PARAMETERS = {
    "aspp.c0.weight": "head.branches.0.weight",
    "aspp.c3.bias": "head.branches.3.bias",
    "layer5.block3.increase.conv.weight": "backbone.layer4.2.conv3.weight",
    "layer3.block1.reduce.conv.weight": "backbone.layer2.0.conv1.weight",
    "layer1.conv1.conv.weight": "backbone.conv1.weight",
}


@pytest.fixture(scope="module", params=["97x97", "65x65b2"])
def case(request, golden, reference_weights):
    stored = golden("train_loss")
    height, seed, images = {"97x97": (97, 6, 1), "65x65b2": (65, 4, 2)}[request.param]
    values = {
        key.removeprefix(request.param + "_"): value
        for key, value in stored.items()
        if key.startswith(request.param)
    }
    return torch.from_numpy(reference_weights.image(height, height, seed, images)), values


def losses_and_model(case, reference_model, *, align_corners):
    images, values = case
    model = reference_model(scales=SCALES, align_corners=align_corners)  # batch norms frozen
    model.requires_grad_(True)
    labels = torch.from_numpy(values["labels"].astype(np.int64))
    losses = multiscale_losses(model.forward_scales(images), labels, align_corners=align_corners)
    model.zero_grad()
    torch.stack(losses).sum().backward()
    return [loss.item() for loss in losses], dict(model.named_parameters())


def test_losses_and_gradients_equal_the_pytorch_port(case, reference_model):
    losses, parameters = losses_and_model(case, reference_model, align_corners=False)
    values = case[1]
    one, half, three_quarters, fused = values["losses"]
    assert losses == pytest.approx([fused, one, three_quarters, half], rel=1e-5)
    assert sum(losses) == pytest.approx(float(values["loss"]), rel=1e-5)
    for theirs, ours in PARAMETERS.items():
        gradient = parameters[ours].grad
        norm = float(values[f"gradnorm_{theirs}"])
        assert gradient.norm().item() == pytest.approx(norm, rel=1e-3)
        first = values[f"grad_{theirs}"]
        np.testing.assert_allclose(
            gradient.flatten()[: first.size].numpy(), first, rtol=1e-3, atol=1e-4 * norm
        )


def test_losses_and_gradients_equal_the_caffe_network(case, reference_model):
    losses, parameters = losses_and_model(case, reference_model, align_corners=True)
    values = case[1]
    assert losses == pytest.approx(values["caffe_losses_fusion_res1_res075_res05"], rel=1e-5)
    for theirs in ("aspp.c0.weight", "layer3.block1.reduce.conv.weight"):
        norm = parameters[PARAMETERS[theirs]].grad.norm().item()
        assert norm == pytest.approx(float(values[f"caffe_gradnorm_{theirs}"]), rel=1e-3)
