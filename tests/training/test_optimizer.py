"""Parameter groups of the solver files, the poly schedule, and what is frozen."""

import pytest
import torch

from atrous.models import create_model
from atrous.training.optimizer import freeze, make_optimizer, poly_factor
from atrous.training.recipe import OptimizerConfig


def rate_and_decay(model, config):
    optimizer = make_optimizer(model, config)
    named = {id(p): name for name, p in model.named_parameters()}
    return {
        named[id(p)]: (group["base_lr"] / config.learning_rate, group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


def test_resnet_groups_are_the_solvers():
    model = create_model("deeplabv2_resnet18", 5)
    config = OptimizerConfig()
    freeze(model, config)
    groups = rate_and_decay(model, config)
    assert groups["backbone.conv1.weight"] == (1, 5e-4)
    assert groups["head.branches.2.weight"] == (10, 5e-4)
    assert groups["head.branches.2.bias"] == (20, 0)
    assert "backbone.bn1.weight" not in groups  # frozen


def test_vgg_groups_are_the_solvers():
    with torch.device("meta"):
        model = create_model("deeplabv2_vgg16", 5, head="largefov")
    groups = rate_and_decay(model, OptimizerConfig())
    assert groups["backbone.conv1_1.bias"] == (2, 0)
    assert groups["head.branches.0.fc6.weight"] == (1, 5e-4)
    assert groups["head.branches.0.fc6.bias"] == (2, 0)
    assert groups["head.branches.0.fc8.weight"] == (10, 5e-4)
    assert groups["head.branches.0.fc8.bias"] == (20, 0)


def test_adamw_decays_matrices_alone():
    model = create_model("deeplabv2_efficientnet_lite0", 5)
    config = OptimizerConfig(kind="adamw", weight_decay=0.1, head_lr_factor=4, freeze_bn=False)
    groups = rate_and_decay(model, config)
    assert len(groups) == len(list(model.parameters()))
    assert groups["backbone.stem.weight"] == (1, 0.1)
    assert groups["backbone.stem_bn.weight"] == (1, 0)
    assert groups["head.branches.0.weight"] == (4, 0.1)
    assert groups["head.branches.0.bias"] == (4, 0)


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "efficientnet_lite0"])
def test_frozen_stages_keep_the_first_layers(name):
    model = create_model(f"deeplabv2_{name}", 3)
    freeze(model, OptimizerConfig(freeze_bn=False, frozen_stages=1))
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    first = {
        "resnet18": ("backbone.conv1.", "backbone.bn1.", "backbone.layer1."),
        "vgg16": ("backbone.conv1_",),
        "efficientnet_lite0": ("backbone.stem.", "backbone.stem_bn.", "backbone.stages.0."),
    }[name]
    assert frozen == [n for n, _ in model.named_parameters() if n.startswith(first)]


def test_poly_falls_from_one_to_nearly_zero():
    config = OptimizerConfig(iterations=100)
    assert poly_factor(0, config) == 1
    assert poly_factor(50, config) == pytest.approx(0.5**0.9)
    assert 0 < poly_factor(99, config) < 0.02


def test_warmup_rises_linearly():
    config = OptimizerConfig(iterations=1000, warmup_iterations=3, power=0.0)
    assert [poly_factor(i, config) for i in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
