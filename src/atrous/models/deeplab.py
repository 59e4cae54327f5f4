"""DeepLab v2: a dilated backbone, a head that scores classes, and upsampling to the image's size.

Start reading here. This is the network of the paper's figure 1. `preprocess` normalises its input;
`predict` applies the softmax and the dense CRF to its output.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from ..errors import InputError
from ..network_options import NetworkOptions, OutputStride
from ..resize import rescale, resize_logits
from .efficientnet_lite import EfficientNetLite0
from .geometry import ceil_divide
from .heads import RATES, Head, LearnedUpsampling
from .multiscale import fuse_scales
from .resnet import ResNet
from .vgg import VGG16

Backbone = ResNet | VGG16 | EfficientNetLite0


class DeepLab(nn.Module):
    """A fully convolutional network from normalised images to class scores at 1/8 of their size.

    Attributes:
        options: The arguments of `create_model` that build this network again.
        scales: Input scales that are run and fused; the first is 1. Not part of `options`, because
            the weights are the same for any scales.
    """

    def __init__(
        self, backbone: Backbone, head: Head, options: NetworkOptions, *, scales: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.options = options
        self.scales = scales
        self.backbone = backbone
        self.head = head
        self.learned_upsampling = (
            LearnedUpsampling(self.num_classes, self.output_stride)
            if options.upsampling == "transposed"
            else None
        )

    @property
    def num_classes(self) -> int:
        """Number of classes, background included."""
        return self.options["num_classes"]

    @property
    def output_stride(self) -> OutputStride:
        """Input pixels per score along each axis, 8 or 16."""
        return self.options.output_stride

    @property
    def align_corners(self) -> bool:
        """Resize convention of input scales and score maps; see `resize`."""
        return self.options.align_corners

    @property
    def atrous_rates(self) -> tuple[int, ...] | None:
        """The head's rates in positions of the output grid; None without atrous branches."""
        return self.options.atrous_rates or RATES[self.options.head]

    def forward(self, images: Tensor) -> Tensor:
        """Score every class at every position of the output grid, fused over the scales.

        Args:
            images: (N, 3, H, W) float, normalised as the weights expect.

        Returns:
            (N, K, ceil(H/8), ceil(W/8)) logits (16 instead of 8 at `output_stride=16`).
        """
        fused = fuse_scales(self.forward_scales(images), align_corners=self.align_corners)
        # Score i belongs to pixel 8i. For sizes other than 8k+1, pooling that rounds up may add a
        # score outside the image.
        rows, columns = (ceil_divide(n, self.output_stride) for n in images.shape[-2:])
        return fused[..., :rows, :columns]

    def forward_scales(self, images: Tensor) -> list[Tensor]:
        """Score the images at each of `scales`; the losses need every score map.

        Each map is as large as the backbone's features: ceil(n/8) for n of the form 8k+1, sometimes
        one more for other n, because pooling rounds up. The published networks fuse maps of these
        sizes.

        Args:
            images: (N, 3, H, W) float, normalised as the weights expect.

        Returns:
            (N, K, h, w) logits for each scale, in the order of `scales`.
        """
        return [self.forward_scale(images, scale) for scale in self.scales]

    def forward_scale(self, images: Tensor, scale: float) -> Tensor:
        """Score the images at one scale: (N, K, h, w) logits, as in `forward_scales`."""
        return self.head(self.backbone(rescale(images, scale, align_corners=self.align_corners)))

    def upsample(self, logits: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Upsample scores to the size of the input, bilinearly or by transposed convolution.

        Args:
            logits: (N, K, h, w), from `forward`.
            size_hw: Rows and columns of the input. For any other size, learned upsampling first
                upsamples to the size that the scores span, then resizes bilinearly.

        Returns:
            (N, K, H, W) logits.
        """
        if self.learned_upsampling is not None:
            logits = self.learned_upsampling(logits, size_hw)
        return resize_logits(logits, size_hw, align_corners=self.align_corners)

    def set_grad_checkpointing(self, is_on: bool) -> None:
        """Switch gradient checkpointing of the backbone, which saves memory in training.

        Only the activations between blocks are kept; the backward pass recomputes the others.
        Gradients and batch norm statistics stay the same; a step takes about a quarter more time.
        """
        self.backbone.recompute_blocks = is_on

    def set_output_stride(self, output_stride: OutputStride) -> None:
        """Change the output stride in place, keeping the weights.

        Strides become dilation or the reverse, and the head's rates scale accordingly: scores at
        stride 16 are every second score at stride 8. For inputs of size 16k+1 this is exact for
        ResNet and EfficientNet, except for the mean of image pooling. For VGG it is an
        approximation, because pool5 is not dilated.

        Raises:
            InputError: If the stride is neither 8 nor 16, a rate would become fractional, or
                the network has learned upsampling, which is tied to its stride.
        """
        if output_stride not in (8, 16):
            raise InputError(f"output_stride is {output_stride!r}; it must be 8 or 16")
        if output_stride == self.output_stride:
            return
        if self.learned_upsampling is not None:
            raise InputError(
                "learned upsampling is made for one output stride; use upsampling='bilinear'"
            )
        rates = self.atrous_rates
        if rates is not None:
            if any(rate * self.output_stride % output_stride for rate in rates):
                raise InputError(
                    f"atrous rates {rates} at output stride {self.output_stride} are not whole "
                    f"numbers at output stride {output_stride}; build the network with other rates"
                )
            rates = tuple(rate * self.output_stride // output_stride for rate in rates)
            self.head.set_rates(rates)
        self.backbone.set_output_stride(output_stride)
        self.options = replace(self.options, output_stride=output_stride, atrous_rates=rates)
