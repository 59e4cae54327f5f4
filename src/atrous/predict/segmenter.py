"""The inference pipeline, step by step: `Segmenter` turns an image into labels."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import EXPECTED_ERRORS, InputError, OutOfMemoryError
from ..image_io import StrPath, read_image
from ..models import DeepLab, check_scales
from ..suggestions import did_you_mean
from ..weights import Entry, load_model
from .segmentation import Segmentation

if TYPE_CHECKING:
    from ..crf import DenseCRF

OnError = Literal["raise", "yield"]
Photo = StrPath | Image.Image | NDArray[np.uint8]
# (scales, whether of the mirror image) -> logits of one batch.
_CachedLogits = dict[tuple[tuple[float, ...], bool], Tensor]


class Segmenter:
    """A network with its weights, ready to label images; safe to call from several threads.

    Attributes:
        model: The network, in evaluation mode on `device`.
        entry: The entry of the weights.
        device: The device that the network runs on.
        flip: Whether the mirror image is run as well.
        batch_size: Maximum number of images that `map` runs together.
        crf: The dense CRF, or None.
        crf_note: One line that says whether the CRF runs, and why.
    """

    def __init__(
        self,
        weights: StrPath | tuple[DeepLab, Entry] = "street-lite",
        *,
        device: str | torch.device = "auto",
        crf: Any = None,
        scales: Sequence[float] | None = None,
        flip: bool = False,
        batch_size: int = 1,
    ) -> None:
        """Load weights, or use an existing network.

        Args:
            weights: A name, path or URL as for `load_model`, or a network with its entry. The
                network is not changed: if it is in training mode or on another device it is copied,
                otherwise the segmenter shares its parameters.
            device: `auto` for the accelerator that PyTorch finds, else the CPU; or `cpu`, `cuda`,
                `cuda:1`, `mps` …
            crf: None for the default of the entry; True, False or a `CRFParams` override it.
            scales: Input scales to run and fuse, 1 first; None for those of the network.
            flip: Whether to average with the probabilities of the mirror image.
            batch_size: Maximum number of images, all of one size, that `map` runs together.

        Raises:
            FileNotFoundError: If `weights` is a path and there is no such file.
            InputError: If weights, device, scales, CRF or batch size cannot be used; says why.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r}; it must be a whole number from 1 up")
        checked_scales = None if scales is None else check_scales(scales)
        self.device = check_device(device)
        if isinstance(weights, tuple):
            model, self.entry = _check_pair(weights)
            model = _copy_for(self.device, model)
        else:
            model, self.entry = load_model(weights)
            model = model.to(self.device)
        classes = self.entry.label_set.num_classes
        if model.num_classes != classes:
            raise InputError(
                f"the network has {model.num_classes} classes but its entry has {classes}; give "
                "the network's own entry"
            )
        if checked_scales is not None:
            model.scales = checked_scales
        self.model = model
        self.flip = bool(flip)
        self.batch_size = batch_size
        self.crf, self.crf_note = choose_crf(crf, self.entry)
        self._crf_choice = crf

    @property
    def scales(self) -> tuple[float, ...]:
        """Input scales that the network runs and fuses."""
        return self.model.scales

    def with_options(self, **options: Any) -> Segmenter:
        """Return a segmenter of the same network with other `crf`, `scales`, `flip`, `batch_size`.

        Raises:
            InputError: If an option is unknown or has a wrong value.
        """
        current: dict[str, Any] = {
            "crf": self._crf_choice,
            "scales": self.scales,
            "flip": self.flip,
            "batch_size": self.batch_size,
        }
        for name in options:
            if name not in current:
                raise InputError(
                    f"no option is called {name!r}{did_you_mean(name, sorted(current))}"
                )
        return Segmenter((self.model, self.entry), device=self.device, **(current | options))

    def __repr__(self) -> str:
        options = [str(self.device), f"crf {'on' if self.crf else 'off'}"]
        options += [f"scales {self.scales}"] if len(self.scales) > 1 else []
        options += ["flip"] if self.flip else []
        classes = self.entry.label_set.num_classes
        return f"<Segmenter {self.entry.name}: {classes} classes, {', '.join(options)}>"

    def __call__(self, photo: Photo) -> Segmentation:
        """Label one image.

        Args:
            photo: The path of a file, a Pillow image, or a uint8 RGB array (H, W, 3).

        Returns:
            Labels of the size of the image.

        Raises:
            FileNotFoundError: If there is no such file.
            InputError: If the image cannot be read, or is an array of another type or shape.
            OutOfMemoryError: If the image is too large for the device.
        """
        return self._segment([self._decode(photo)])[0]

    @overload
    def map(self, photos: Iterable[Photo]) -> Iterator[Segmentation]: ...

    @overload
    def map(
        self, photos: Iterable[Photo], *, on_error: OnError
    ) -> Iterator[Segmentation | Exception]: ...

    def map(
        self, photos: Iterable[Photo], *, on_error: OnError = "raise"
    ) -> Iterator[Segmentation | Exception]:
        """Label many images in order; up to `batch_size` consecutive ones of one size run together.

        Args:
            photos: Images, each as for a call; read when their turn comes.
            on_error: `raise` ends the iteration at the first image that fails, after the results of
                the images before it. `yield` gives the error in the place of the result and
                continues.

        Raises:
            InputError: If `photos` is a single image. Iterating raises the errors of a call.
        """
        if isinstance(photos, (str, os.PathLike, Image.Image)):
            raise InputError("map takes several images; call the segmenter itself for one image")
        if on_error not in get_args(OnError):
            raise InputError(f"on_error is {on_error!r}; it must be 'raise' or 'yield'")
        return self._map(photos, yields_errors=on_error == "yield")

    def _map(
        self, photos: Iterable[Photo], *, yields_errors: bool
    ) -> Iterator[Segmentation | Exception]:
        batch: list[_Decoded] = []

        def run_batch() -> Iterator[Segmentation | Exception]:
            try:
                yield from self._segment(batch)
            except OutOfMemoryError as error:
                if not yields_errors:
                    raise
                yield from [error] * len(batch)
            batch.clear()

        for photo in photos:
            try:
                decoded = self._decode(photo)
            except EXPECTED_ERRORS as error:
                yield from run_batch()
                if not yields_errors:
                    raise
                yield error
                continue
            if batch and decoded.image.shape != batch[0].image.shape:
                yield from run_batch()
            batch.append(decoded)
            if len(batch) == self.batch_size:
                yield from run_batch()
        yield from run_batch()

    def segment_variants(
        self, photo: Photo, variants: Mapping[str, Segmenter]
    ) -> dict[str, Segmentation]:
        """Label one image with several variants of this segmenter, sharing runs of the network.

        Variants with the same scales share the logits of the image, and those with `flip` the
        logits of its mirror image.

        Args:
            photo: As for a call.
            variants: Name -> segmenter of this network, made by `with_options`.

        Returns:
            Name -> the result of that segmenter. `timings` holds the steps that were run for it.

        Raises:
            InputError: If a variant has another network; otherwise as for a call.
        """
        for name, variant in variants.items():
            if variant.model.backbone is not self.model.backbone or variant.entry is not self.entry:
                raise InputError(
                    f"the variant {name!r} has another network; make it with `with_options`"
                )
        decoded = self._decode(photo)
        cache: _CachedLogits = {}
        return {name: variant._segment([decoded], cache)[0] for name, variant in variants.items()}

    def _decode(self, photo: Photo) -> _Decoded:
        start = time.perf_counter()
        if isinstance(photo, np.ndarray):
            image = _check_array(photo).copy()
        elif isinstance(photo, (str, os.PathLike, Image.Image)):
            image = read_image(photo)
        else:
            raise InputError(
                f"the image is a {type(photo).__name__}; give a path, a Pillow image or a uint8 "
                "RGB array (H, W, 3)"
            )
        return _Decoded(image, time.perf_counter() - start)

    def _segment(
        self, batch: list[_Decoded], cache: _CachedLogits | None = None
    ) -> list[Segmentation]:
        """Run the pipeline; too little memory raises one error, whichever step it comes from."""
        if not batch:
            return []
        height, width = batch[0].image.shape[:2]
        try:
            return self._run(batch, {} if cache is None else cache)
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            raise OutOfMemoryError(
                f"{self.device} does not have enough memory for {len(batch)} image(s) of "
                f"{width}x{height} at scales {self.scales}; use a smaller image or fewer scales"
            ) from error

    @torch.inference_mode()
    def _run(self, batch: list[_Decoded], cache: _CachedLogits) -> list[Segmentation]:
        """Label images of one size; uses the logits in `cache` and adds those that it computes."""
        shared = _Stopwatch(self.device)
        images = [decoded.image for decoded in batch]
        with shared.step("preprocess"):
            views = {False: self._tensor(images)}
            if self.flip:
                views[True] = self._tensor([image[:, ::-1] for image in images])
        with shared.step("network"):
            for is_mirrored, view in views.items():
                if (self.scales, is_mirrored) not in cache:
                    cache[self.scales, is_mirrored] = self.model(view)
            logits = torch.stack([cache[self.scales, is_mirrored] for is_mirrored in views])
            # logits: (views, N, K, h, w)
        each_s = {step: seconds / len(batch) for step, seconds in shared.seconds.items()}
        padded_hw = (views[False].shape[-2], views[False].shape[-1])
        return [
            self._label(
                Scores(self.model, logits[:, index], padded_hw, size_hw=decoded.image.shape[:2]),
                decoded.image,
                _Stopwatch(self.device, {"decode": decoded.seconds} | each_s),
            )
            for index, decoded in enumerate(batch)
        ]

    def _tensor(self, images: list[NDArray[np.uint8]]) -> Tensor:
        is_multiscale = len(self.scales) > 1
        tensors = [self.entry.preprocess(image, is_multiscale=is_multiscale) for image in images]
        return torch.cat(tensors).to(self.device)

    def _label(self, scores: Scores, image: NDArray[np.uint8], watch: _Stopwatch) -> Segmentation:
        with watch.step("upsample"):
            probabilities = scores.probabilities()
        compute = scores.to_numpy
        if self.crf is not None:
            with watch.step("crf"):
                probabilities = self.crf.refine(probabilities, image)
            compute = probabilities.cpu().numpy
        with watch.step("labels"):
            dtype = np.uint8 if len(probabilities) <= 256 else np.uint16
            labels = probabilities.argmax(0).cpu().numpy().astype(dtype)
        watch.seconds["total"] = sum(watch.seconds.values())
        return Segmentation(labels, image, self.entry.label_set, watch.seconds, compute)


@dataclass(frozen=True)
class Scores:
    """The network's scores of one image, not upsampled.

    Attributes:
        model: The network that computed them, which also upsamples them.
        logits: (1, K, h, w), or (2, K, h, w) with those of the mirror image second.
        padded_hw: Size of the network's input.
        size_hw: Size of the image, which is the upper left part of the input.
    """

    model: DeepLab
    logits: Tensor
    padded_hw: tuple[int, int]
    size_hw: tuple[int, int]

    @torch.inference_mode()
    def probabilities(self) -> Tensor:
        """Return (K, H, W) float32 on the network's device; each pixel sums to 1."""
        height, width = self.size_hw
        full = self.model.upsample(self.logits, self.padded_hw)[..., :height, :width]
        views = full.softmax(1)
        return views[0] if len(views) == 1 else (views[0] + views[1].flip(-1)) / 2

    def to_numpy(self) -> NDArray[np.float32]:
        return self.probabilities().cpu().numpy()


@dataclass(frozen=True)
class _Decoded:
    image: NDArray[np.uint8]
    seconds: float


class _Stopwatch:
    """Measures the seconds of each step; waits for the device before and after it."""

    def __init__(self, device: torch.device, seconds: dict[str, float] | None = None) -> None:
        self.device = device
        self.seconds = seconds or {}

    @contextmanager
    def step(self, name: str) -> Generator[None]:
        self._wait()
        start = time.perf_counter()
        yield
        self._wait()
        self.seconds[name] = time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()  # torch.cuda, torch.mps, torch.xpu


def choose_crf(choice: Any, entry: Entry) -> tuple[DenseCRF | None, str]:
    """Decide whether the CRF runs, and with which parameters.

    Args:
        choice: None for the default of the weights entry; True, False or a `CRFParams` override it.
            True uses the entry's parameters, or the paper's if it has none.
        entry: The entry of the weights.

    Returns:
        The CRF or None, and one line for the user: whether it runs and why.

    Raises:
        InputError: If `choice` is something else.
        MissingPackageError: If the CRF is to run but its compiled kernel is missing; says how to
            build it.
    """
    if choice is False:
        return None, "off (switched off)"
    if choice is None and not entry.use_crf:
        return None, f"off (default of {entry.name})"
    from ..crf import CRFParams, DenseCRF  # loads the compiled kernel

    if choice is None or choice is True:
        choice = entry.crf or CRFParams()  # the defaults are the paper's
    elif not isinstance(choice, CRFParams):
        raise InputError(f"crf is {choice!r}; it must be None, True, False or a CRFParams")
    return DenseCRF(choice), f"on ({choice})"


def _check_pair(weights: tuple[Any, ...]) -> tuple[DeepLab, Entry]:
    if len(weights) == 2 and isinstance(weights[0], DeepLab) and isinstance(weights[1], Entry):
        return weights
    raise InputError(
        f"weights is a tuple of {', '.join(type(item).__name__ for item in weights)}; "
        "give a name, a path, or a (network, entry) pair as load_model returns it"
    )


def check_device(device: str | torch.device) -> torch.device:
    """Return the device, after checking that PyTorch can use it on this machine.

    Args:
        device: A device, its name, or `auto`: the accelerator that PyTorch finds, else the CPU.

    Raises:
        InputError: If PyTorch cannot use it.
    """
    try:
        checked = _find_accelerator() if device == "auto" else torch.device(device)
        torch.zeros(1, device=checked)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(
            f"device {str(device)!r} does not work here with PyTorch {torch.__version__} "
            f"({str(error).splitlines()[0]}); use 'cpu'"
        ) from error
    return checked


def _find_accelerator() -> torch.device:
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return torch.device("cpu") if found is None else found


def _copy_for(device: torch.device, model: DeepLab) -> DeepLab:
    """Return a network in evaluation mode on `device`, a copy that can get its own `scales`."""
    is_ready = not any(module.training for module in model.modules())
    target = torch.zeros(0, device=device).device  # `cuda` becomes `cuda:0`
    is_on_device = all(tensor.device == target for tensor in model.parameters())
    if is_ready and is_on_device:
        return copy.copy(model)  # shares the parameters
    return copy.deepcopy(model).to(device).eval()


def _check_array(image: NDArray[Any]) -> NDArray[np.uint8]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(
            f"the image is an array of {image.dtype} and shape {image.shape}; give uint8 RGB "
            "(0-255) of shape (H, W, 3)"
        )
    return image
