"""The whole network: equal to the reference, sized as promised, scales fused, strides exchanged."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atrous.models import DeepLab, create_model, list_models
from atrous.models.heads import make_head
from atrous.models.resnet import Bottleneck, ResNet

HEADS = ("aspp", "aspp_s", "largefov", "conv1x1", "aspp_concat")
MSC = (1.0, 0.75, 0.5)

Model = Callable[..., DeepLab]
Image = Callable[[str], Tensor]
Golden = Callable[[str], dict[str, NDArray[Any]]]


def assert_equals_reference(ours: Tensor, theirs: NDArray[Any], reference: NDArray[Any]) -> None:
    """float32 agreement: 1e-4 of the standard deviation of the reference's logits."""
    assert ours.shape == theirs.shape
    assert np.abs(ours.numpy() - theirs).max() <= 1e-4 * reference.std()


def randomise_(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norms statistics that no two channels share, biases that are not 0."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.2, 0.6, generator=generator)
            nn.init.normal_(module.bias, std=0.1, generator=generator)
    return model


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("name", ["97x129", "65x65b2"])
@pytest.mark.parametrize(
    ("align_corners", "fused", "labels"),
    [(False, "msc", "msc_argmax"), (True, "caffe_msc", "caffe_argmax")],
)
@torch.no_grad()
def test_multiscale_network_equals_the_reference(
    reference_model: Model,
    reference_image: Image,
    golden: Golden,
    name: str,
    align_corners: bool,
    fused: str,
    labels: str,
) -> None:
    model = reference_model(scales=MSC, align_corners=align_corners)
    image, expected = reference_image(name), golden(f"kazuto_{name}")
    logits = model(image)
    assert_equals_reference(logits, expected[fused], expected["base"])
    pixels = model.upsample(logits, (image.shape[-2], image.shape[-1]))
    assert np.array_equal(pixels.argmax(dim=1).numpy(), expected[labels])


@pytest.mark.parametrize("name", ["97x129", "65x65b2"])
@torch.no_grad()
def test_scales_equal_caffes_layers(
    reference_model: Model, reference_image: Image, golden: Golden, name: str
) -> None:
    from atrous.resize import resize_logits

    expected = golden(f"kazuto_{name}")
    full, three_quarters, half = reference_model(scales=MSC).forward_scales(reference_image(name))
    size_hw = (full.shape[-2], full.shape[-1])
    interpolated = resize_logits(three_quarters, size_hw, align_corners=True)
    assert_equals_reference(full, expected["base"], expected["base"])
    assert_equals_reference(interpolated, expected["caffe_res075_interp"], expected["base"])
    assert_equals_reference(half, expected["caffe_res05"], expected["base"])


@torch.no_grad()
def test_scales_equal_those_that_the_port_trains(
    reference_model: Model, reference_image: Image, golden: Golden
) -> None:
    expected = golden("kazuto_97x129")
    model = reference_model(scales=MSC, align_corners=False)
    full, three_quarters, half = model.forward_scales(reference_image("97x129"))
    # 0.75 of 97 is 72: pooling rounds up to 10 rows of scores where ceil(72/8) is 9.
    assert_equals_reference(full, expected["msc_train_0"], expected["base"])
    assert_equals_reference(half, expected["msc_train_1"], expected["base"])
    assert_equals_reference(three_quarters, expected["msc_train_2"], expected["base"])


@torch.no_grad()
def test_double_precision_is_nearer_to_the_reference_in_double_precision(
    reference_state: dict[str, Tensor], reference_image: Image, golden: Golden
) -> None:
    with torch.device("meta"):
        model = create_model("deeplabv2_resnet101", num_classes=21)
    state = {name: value.double() for name, value in reference_state.items()}
    model.load_state_dict(state, assign=True)
    logits = model.eval()(reference_image("97x129").double()).numpy()
    expected = golden("kazuto_features_97x129")["base_float64run"]
    assert logits.dtype == np.float64
    assert np.abs(logits - expected).max() <= 1e-11 * expected.std()


@pytest.mark.parametrize(
    ("name", "head", "parameters"),
    [
        ("deeplabv2_resnet101", "aspp", 44_048_532),
        ("deeplabv2_vgg16", "largefov", 20_505_429),
        ("deeplabv2_vgg16", "aspp", 37_877_652),
        ("deeplabv2_vgg16", "aspp_s", 37_877_652),
    ],
)
def test_parameters_are_as_many_as_in_the_published_networks(
    name: str, head: Any, parameters: int
) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=21, head=head)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_resnet101_spends_its_published_share_on_aspp() -> None:
    with torch.device("meta"):
        model = create_model("deeplabv2_resnet101", num_classes=21)
    assert sum(p.numel() for p in model.head.parameters()) == 1_548_372


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", list_models())
def test_every_head_gives_ceil_of_size_over_stride(name: str, head: Any) -> None:
    output_stride = 16 if head == "largefov" else 8
    with torch.device("meta"):
        model = create_model(name, num_classes=3, head=head, output_stride=output_stride).eval()
        logits = model(torch.empty(2, 3, 375, 500))
    assert logits.shape == (2, 3, -(-375 // output_stride), -(-500 // output_stride))


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize(
    "name", ["deeplabv2_resnet18", "deeplabv2_vgg16", "deeplabv2_efficientnet_lite0"]
)
@torch.no_grad()
def test_every_small_size_gives_ceil_of_size_over_stride(name: str, output_stride: Any) -> None:
    model = create_model(name, 1, head="conv1x1", output_stride=output_stride).eval()
    for height in range(1, 50):
        width = 50 - height
        scores = (-(-height // output_stride), -(-width // output_stride))
        assert model(torch.zeros(1, 3, height, width)).shape[-2:] == scores


@pytest.mark.parametrize("align_corners", [True, False])
@torch.no_grad()
def test_scales_do_not_change_the_size(align_corners: bool) -> None:
    model = create_model(
        "deeplabv2_resnet18", 1, head="conv1x1", scales=MSC, align_corners=align_corners
    ).eval()
    for height in range(1, 50, 3):
        logits = model(torch.zeros(1, 3, height, 50 - height))
        assert logits.shape[-2:] == (-(-height // 8), -(-(50 - height) // 8))


def test_published_crops_give_41_and_65_scores() -> None:
    with torch.device("meta"):
        model = create_model("deeplabv2_resnet101", num_classes=21, scales=MSC)
        for size, sizes in ((321, [41, 31, 21]), (513, [65, 49, 33])):
            logits = model.forward_scales(torch.empty(1, 3, size, size))
            assert [scores.shape[-1] for scores in logits] == sizes


@pytest.mark.parametrize("name", list_models())
@torch.no_grad()
def test_one_pixel_is_segmented(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3).eval()
    logits = model.upsample(model(noise(1, 3, 1, 1)), (1, 1))
    assert logits.shape == (1, 3, 1, 1)
    assert logits.isfinite().all()


def bottlenecks(*, stride_in_1x1: bool) -> DeepLab:
    """Build a network of ResNet-101's blocks, few of them."""
    model = create_model(
        "deeplabv2_resnet101", num_classes=5, stride_in_1x1=stride_in_1x1, head="aspp_s"
    )
    model.backbone = ResNet(Bottleneck, (1, 2, 3, 2), stride_in_1x1=stride_in_1x1)
    return model


@pytest.mark.parametrize("head", ["aspp", "largefov", "conv1x1"])
@pytest.mark.parametrize("name", ["deeplabv2_resnet18", "deeplabv2_efficientnet_lite0"])
@torch.no_grad()
def test_stride_16_scores_are_every_second_one_of_stride_8(name: str, head: Any) -> None:
    torch.manual_seed(0)
    assert_strides_agree(create_model(name, num_classes=5, head=head))


@pytest.mark.parametrize("stride_in_1x1", [True, False])
@pytest.mark.parametrize("depth", [50, 101])
@torch.no_grad()
def test_either_stride_place_can_be_dilated(stride_in_1x1: bool, depth: int) -> None:
    torch.manual_seed(0)
    if depth == 101:
        model = bottlenecks(stride_in_1x1=stride_in_1x1)
    else:
        model = create_model("deeplabv2_resnet50", num_classes=5, stride_in_1x1=stride_in_1x1)
    assert_strides_agree(model)


def assert_strides_agree(model: DeepLab) -> None:
    model = randomise_(model).double().eval()
    image = noise(2, 3, 65, 81, dtype=torch.float64)
    fine = model(image)
    model.set_output_stride(16)
    coarse = model(image)
    assert fine.shape == (2, 5, 9, 11)
    assert coarse.shape == (2, 5, 5, 6)
    torch.testing.assert_close(coarse, fine[..., ::2, ::2], rtol=1e-9, atol=1e-9 * fine.std())
    model.set_output_stride(8)
    assert torch.equal(model(image), fine)


@torch.no_grad()
def test_stride_place_changes_the_scores() -> None:
    torch.manual_seed(0)
    caffe = randomise_(bottlenecks(stride_in_1x1=True)).eval()
    other = bottlenecks(stride_in_1x1=False).eval()
    other.load_state_dict(caffe.state_dict())
    image = noise(1, 3, 65, 65)
    assert (caffe(image) - other(image)).abs().max() > 0.1 * caffe(image).std()


def test_changed_stride_is_what_options_build_again() -> None:
    model = create_model("deeplabv2_resnet18", num_classes=2)
    model.set_output_stride(16)
    again = create_model(**model.options)
    assert (again.output_stride, again.atrous_rates) == (16, (3, 6, 9, 12))
    assert [m.dilation for m in again.modules() if isinstance(m, nn.Conv2d)] == [
        m.dilation for m in model.modules() if isinstance(m, nn.Conv2d)
    ]


def test_rate_without_whole_counterpart_is_refused_and_nothing_changes() -> None:
    model = create_model("deeplabv2_resnet18", num_classes=2, atrous_rates=(6, 7))
    with pytest.raises(ValueError, match=r"\(6, 7\) at output stride 8 are not whole numbers"):
        model.set_output_stride(16)
    assert (model.output_stride, model.atrous_rates) == (8, (6, 7))
    assert model.head.branches[0].dilation == (6, 6)


def test_strides_other_than_8_and_16_are_refused() -> None:
    model = create_model("deeplabv2_vgg16", num_classes=2)
    with pytest.raises(ValueError, match="output_stride is 4; it must be 8 or 16"):
        model.set_output_stride(4)


def test_learned_upsampling_keeps_its_stride() -> None:
    model = create_model("deeplabv2_resnet18", num_classes=2, upsampling="transposed")
    with pytest.raises(ValueError, match="made for one output stride"):
        model.set_output_stride(16)
    assert model.output_stride == 8


@pytest.mark.parametrize("align_corners", [True, False])
@torch.no_grad()
def test_scales_are_the_maximum_of_resized_scores(
    bilinear: ModuleType, align_corners: bool
) -> None:
    torch.manual_seed(0)
    model = randomise_(create_model("deeplabv2_efficientnet_lite0", num_classes=4)).double().eval()
    fused = create_model(
        "deeplabv2_efficientnet_lite0", 4, scales=(1, 0.75, 0.5, 1.5), align_corners=align_corners
    )
    fused.double().eval().load_state_dict(model.state_dict())
    image = noise(1, 3, 33, 49, dtype=torch.float64)
    sizes = {0.75: (25, 37), 0.5: (17, 25), 1.5: (49, 73)}
    if not align_corners:
        sizes = {0.75: (24, 36), 0.5: (16, 24), 1.5: (49, 73)}
    maps = [model(image).numpy()]
    for scale, size_hw in sizes.items():
        steps_hw = None if align_corners else (1 / scale, 1 / scale)
        resized = bilinear.resize(
            image.numpy(), size_hw, align_corners=align_corners, steps_hw=steps_hw
        )
        maps.append(model(torch.from_numpy(resized)).numpy())
    expected = bilinear.fuse(maps, align_corners=align_corners)
    np.testing.assert_allclose(fused(image).numpy(), expected, rtol=1e-9, atol=1e-9)


def test_scales_change_no_parameter_name() -> None:
    with torch.device("meta"):
        single = create_model("deeplabv2_resnet50", num_classes=3).state_dict()
        multi = create_model("deeplabv2_resnet50", num_classes=3, scales=MSC).state_dict()
    assert {k: v.shape for k, v in single.items()} == {k: v.shape for k, v in multi.items()}


@torch.no_grad()
def test_forward_is_the_map_of_a_single_scale() -> None:
    torch.manual_seed(0)
    model = create_model("deeplabv2_resnet18", num_classes=3).eval()
    image = noise(1, 3, 33, 41)
    (scores,) = model.forward_scales(image)
    assert torch.equal(model(image), scores)


@pytest.mark.parametrize("align_corners", [True, False])
@torch.no_grad()
def test_upsampling_keeps_the_networks_convention(
    bilinear: ModuleType, align_corners: bool
) -> None:
    model = create_model("deeplabv2_resnet18", num_classes=3, align_corners=align_corners)
    logits = noise(1, 3, 3, 5, dtype=torch.float64)
    expected = bilinear.resize(logits.numpy(), (20, 33), align_corners=align_corners)
    np.testing.assert_allclose(model.upsample(logits, (20, 33)).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("name", list_models())
def test_gradient_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, scales=(1, 0.5), upsampling="transposed")
    image = noise(2, 3, 33, 33)
    full, half = model.forward_scales(image)
    (model.upsample(full, (33, 33)).square().mean() + half.square().mean()).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("head", HEADS)
def test_gradient_reaches_every_parameter_of_every_head(head: Any) -> None:
    torch.manual_seed(0)
    for in_vgg in (False, True):
        model = make_head(head, 16, 3, None, is_vgg=in_vgg)
        model(noise(2, 16, 5, 5)).square().mean().backward()
        assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize("name", list_models())
@torch.no_grad()
def test_double_precision_agrees_with_single(name: str) -> None:
    torch.manual_seed(0)
    model = randomise_(create_model(name, num_classes=3, upsampling="transposed")).eval()
    image = noise(1, 3, 33, 33)
    single = model.upsample(model(image), (33, 33))
    model.double()
    double = model.upsample(model(image.double()), (33, 33))
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-4 * double.std())
