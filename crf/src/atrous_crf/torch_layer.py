"""`CRFLayer`: the dense CRF as a layer that is trained with a network (CRF as RNN)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .errors import InputError
from .params import CRFParams
from .torch_lattice import crf_lattices, from_rows, mean_field, to_rows

ZHENG_2015 = CRFParams(
    iterations=10,
    spatial_weight=3,
    spatial_xy_std=3,
    bilateral_weight=5,
    bilateral_xy_std=160,
    bilateral_rgb_std=3,
)


class CRFLayer(nn.Module):
    """Mean field whose kernel weights and compatibility matrix are learned.

    The layer starts as `DenseCRF` with the same parameters: equal weights for all classes and the
    Potts compatibility. The widths of the kernels are fixed: no gradient flows to them or to the
    image.

    Zheng et al. 2015 train it as follows:

    1. Train the network alone until it is good. A CRF on random scores learns nothing.
    2. Append the layer: kernel weights 3 (spatial) and 5 (bilateral), widths 3 px, 160 px and 3
       grey levels, Potts compatibility. These are the defaults here.
    3. Fine-tune everything end to end with the softmax loss on the output of the layer: one image
       per step, 5 iterations (with more, gradients vanish or explode), SGD with momentum 0.99 and a
       fixed learning rate of 1e-13; times 10,000 for the kernel weights, times 1,000 for the
       compatibility matrix. That loss is a sum over pixels. For a mean over 500x500 pixels, as in
       `nn.CrossEntropyLoss`, the equivalent rates are 2.5e-8, 2.5e-4 and 2.5e-5.
    4. Test with 10 iterations: `layer.eval()`.

    Differences: they normalise a message once, by 1/K1; this layer does so symmetrically, as
    `DenseCRF` does. Their code has a weight matrix per kernel; this layer a weight per class, as in
    the paper. Training takes about 20 bytes per pixel, class and iteration.

    Args:
        num_classes: K.
        params: Widths, initial weights, and the number of iterations in evaluation mode.
        train_iterations: Number of iterations in training mode.
        accuracy: "lattice" or "high", as in `DenseCRF`.

    Source: Zheng et al. 2015, "Conditional Random Fields as Recurrent Neural Networks", and the
    layer's definition that the authors published for training.
    """

    def __init__(
        self,
        num_classes: int,
        params: CRFParams = ZHENG_2015,
        *,
        train_iterations: int = 5,
        accuracy: str = "lattice",
    ) -> None:
        super().__init__()
        if num_classes < 1 or train_iterations < 0:
            raise InputError(
                f"num_classes is {num_classes} and train_iterations {train_iterations}; "
                "they must be at least 1 and 0"
            )
        self.params = params
        self.train_iterations = train_iterations
        self.accuracy = accuracy
        self.spatial_weight = nn.Parameter(torch.full((num_classes,), float(params.spatial_weight)))
        self.bilateral_weight = nn.Parameter(
            torch.full((num_classes,), float(params.bilateral_weight))
        )
        self.compatibility = nn.Parameter(torch.eye(num_classes))

    @property
    def iterations(self) -> int:
        return self.train_iterations if self.training else self.params.iterations

    def forward(self, logits: Tensor, images: Tensor) -> Tensor:
        """Refine a network's scores.

        Args:
            logits: (N, K, H, W) float, before the softmax, of the same height and width as the
                images.
            images: (N, H, W, 3) uint8 RGB: the pixels, not the normalised input of the network.

        Returns:
            (N, K, H, W) refined logits for a softmax loss; float64 for float64, else float32.

        Raises:
            InputError: If shapes, types or devices do not match.
        """
        self._check(logits, images)
        num_images, _, height, width = logits.shape
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        # Half precision would change marginals by up to 0.05.
        with torch.autocast(logits.device.type, enabled=False):
            spatial, bilateral = crf_lattices(
                images, self.params, accuracy=self.accuracy, dtype=dtype
            )
            refined = mean_field(
                to_rows(logits.to(dtype)),
                [
                    (spatial, self.spatial_weight.to(dtype)),
                    (bilateral, self.bilateral_weight.to(dtype)),
                ],
                iterations=self.iterations,
                compatibility=self.compatibility.to(dtype),
            )
            return from_rows(refined, (num_images, height, width))

    def _check(self, logits: Tensor, images: Tensor) -> None:
        num_classes = len(self.spatial_weight)
        if logits.ndim != 4 or logits.shape[1] != num_classes or not logits.is_floating_point():
            raise InputError(
                f"logits are {logits.dtype} {tuple(logits.shape)}; "
                f"they must be float (N, {num_classes}, H, W)"
            )
        needed = (len(logits), *logits.shape[2:], 3)
        if tuple(images.shape) != needed or images.dtype != torch.uint8:
            raise InputError(
                f"images are {images.dtype} {tuple(images.shape)}; they must be uint8 {needed}: "
                "upsample the logits first, and pass the pixels, not the normalised input"
            )
        if images.device != logits.device:
            raise InputError(f"images are on {images.device} but logits are on {logits.device}")
