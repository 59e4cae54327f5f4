"""The river from a photo to labels; the page to read to see every hop in order."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import AtrousError, InputError, OutOfMemoryError
from ..image_io import StrPath, read_image
from ..models import DeepLab, check_scales
from ..suggestions import did_you_mean
from ..weights import Entry, load_model
from .refinement import choose_crf
from .segmentation import Segmentation

Photo = StrPath | Image.Image | NDArray[np.uint8]
# Logits of (scales, 1 for the mirror image else 0), of one photo or batch.
_Known = dict[tuple[tuple[float, ...], int], Tensor]


class Segmenter:
    """A network with its weights, ready for photos; safe to call from several threads.

    Attributes:
        model: The network, in evaluation mode on `device`.
        entry: What the weights say about themselves.
        device: Where the network runs.
        flip: Whether the mirror image is run as well.
        batch_size: Most photos in one pass of `map`.
        crf: The dense CRF, or None.
        crf_note: One line that says whether the CRF runs, and why.
    """

    def __init__(
        self,
        weights: StrPath | tuple[DeepLab, Entry] = "street-lite",
        *,
        device: str | torch.device = "cpu",
        crf: Any = None,
        scales: Sequence[float] | None = None,
        flip: bool = False,
        batch_size: int = 1,
    ) -> None:
        """Load weights, or take a network.

        Args:
            weights: A name or path as `load_model` takes, or a network with its entry. That network
                is left as it is: one in training mode or on another device is copied; otherwise the
                segmenter shares its parameters.
            device: `cpu`, `cuda`, `cuda:1`, `mps` …
            crf: None for what the entry says; True, False or a `CRFParams` override it.
            scales: Input scales to run and fuse, 1 first; None for the network's own.
            flip: Whether to average with the probabilities of the mirror image.
            batch_size: Photos of one size that `map` runs together.

        Raises:
            FileNotFoundError: If `weights` is the path of no file.
            InputError: If weights, device, scales, CRF or batch size cannot be used; says why.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size is {batch_size!r}; it must be a whole number from 1 up")
        own_scales = None if scales is None else check_scales(scales)
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
                f"the network scores {model.num_classes} classes but its entry names {classes}; "
                "give the entry that belongs to it"
            )
        if own_scales is not None:
            model.scales = own_scales
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
        """Give a segmenter of the same network with other `crf`, `scales`, `flip` or `batch_size`.

        Raises:
            InputError: If an option is unknown or has a wrong value.
        """
        ours: dict[str, Any] = {
            "crf": self._crf_choice,
            "scales": self.scales,
            "flip": self.flip,
            "batch_size": self.batch_size,
        }
        for name in options:
            if name not in ours:
                raise InputError(f"no option is called {name!r}{did_you_mean(name, sorted(ours))}")
        return Segmenter((self.model, self.entry), device=self.device, **(ours | options))

    def __call__(self, photo: Photo) -> Segmentation:
        """Label one photo.

        Args:
            photo: A file, a Pillow image, or a uint8 RGB array (H, W, 3).

        Returns:
            Labels of the photo's own size.

        Raises:
            FileNotFoundError: If there is no such file.
            InputError: If the photo cannot be read, or is an array of another type or shape.
            OutOfMemoryError: If the photo is too large for the device.
        """
        return self._segment([self._decode(photo)])[0]

    def map(self, photos: Iterable[Photo]) -> Iterator[Segmentation]:
        """Label many photos, in order; up to `batch_size` neighbours of one size run together.

        Raises:
            InputError: If `photos` is a single photo; and as for one photo, when its turn comes.
        """
        if isinstance(photos, (str, os.PathLike, Image.Image)):
            raise InputError("map takes several photos; call the segmenter itself for one")
        return self._map(photos)

    def _map(self, photos: Iterable[Photo]) -> Iterator[Segmentation]:
        batch: list[_Decoded] = []
        for photo in photos:
            try:
                decoded = self._decode(photo)
            except (AtrousError, OSError):
                yield from self._segment(batch)
                raise
            if batch and decoded.image.shape != batch[0].image.shape:
                yield from self._segment(batch)
                batch = []
            batch.append(decoded)
            if len(batch) == self.batch_size:
                yield from self._segment(batch)
                batch = []
        yield from self._segment(batch)

    def segment_in_ways(
        self, photo: Photo, ways: Mapping[str, Segmenter]
    ) -> dict[str, Segmentation]:
        """Label one photo in several ways, running the network once for what they share.

        Ways that differ in the CRF alone share everything before it; one with `flip` takes the
        upright half from one without, where both have the same scales.

        Args:
            photo: As for one call.
            ways: Name -> segmenter of this network, as `with_options` makes them.

        Returns:
            Name -> what that segmenter alone would give. `timings` hold what was run for it.

        Raises:
            InputError: If a way has another network; and as for one call.
        """
        for name, way in ways.items():
            if way.model.backbone is not self.model.backbone or way.entry is not self.entry:
                raise InputError(
                    f"the way {name!r} has another network; make it with `with_options`"
                )
        decoded = self._decode(photo)
        known: _Known = {}
        return {name: way._segment([decoded], known)[0] for name, way in ways.items()}

    def _decode(self, photo: Photo) -> _Decoded:
        start = time.perf_counter()
        if isinstance(photo, np.ndarray):
            image = _check_array(photo).copy()
        elif isinstance(photo, (str, os.PathLike, Image.Image)):
            image = read_image(photo)
        else:
            raise InputError(
                f"photo is a {type(photo).__name__}; give a path, a Pillow image or a uint8 RGB "
                "array (H, W, 3)"
            )
        return _Decoded(image, time.perf_counter() - start)

    def _segment(self, batch: list[_Decoded], known: _Known | None = None) -> list[Segmentation]:
        if not batch:
            return []
        height, width = batch[0].image.shape[:2]
        try:
            return self._hops(batch, {} if known is None else known)
        except RuntimeError as error:
            if "memory" not in str(error):
                raise
            raise OutOfMemoryError(
                f"{self.device} has not the memory for {len(batch)} photo(s) of {width}x{height} "
                f"at scales {self.scales}; make the photo smaller, or use fewer scales"
            ) from error

    @torch.inference_mode()
    def _hops(self, batch: list[_Decoded], known: _Known) -> list[Segmentation]:
        """Take photos of one size from pixels to labels; `known` scores are not made again."""
        shared = _Stopwatch(self.device)
        images = [decoded.image for decoded in batch]
        with shared.hop("preprocess"):
            views = [self._tensor(images)]
            if self.flip:
                views.append(self._tensor([image[:, ::-1] for image in images]))
        with shared.hop("network"):
            for mirrored, view in enumerate(views):
                if (self.scales, mirrored) not in known:
                    known[self.scales, mirrored] = self.model(view)
            logits = torch.stack([known[self.scales, m] for m in range(len(views))])
            # logits: (views, N, K, h, w)
        each_s = {hop: seconds / len(batch) for hop, seconds in shared.seconds.items()}
        padded_hw = (views[0].shape[-2], views[0].shape[-1])
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
        with watch.hop("upsample"):
            probabilities = scores.probabilities()
        compute = scores.to_numpy
        if self.crf is not None:
            with watch.hop("crf"):
                probabilities = self.crf.refine(probabilities, image)
            compute = probabilities.cpu().numpy
        with watch.hop("labels"):
            dtype = np.uint8 if len(probabilities) <= 256 else np.uint16
            labels = probabilities.argmax(0).cpu().numpy().astype(dtype)
        watch.seconds["total"] = sum(watch.seconds.values())
        return Segmentation(labels, image, self.entry.label_set, watch.seconds, compute)


@dataclass(frozen=True)
class Scores:
    """The network's scores of one photo, before they are brought to its size.

    Attributes:
        model: The network that gave them; it knows the way up.
        logits: (1, K, h, w), or (2, K, h, w) with those of the mirror image behind.
        padded_hw: Size of the tensor that went into the network.
        size_hw: Size of the photo, its upper left part.
    """

    model: DeepLab
    logits: Tensor
    padded_hw: tuple[int, int]
    size_hw: tuple[int, int]

    @torch.inference_mode()
    def probabilities(self) -> Tensor:
        """(K, H, W) on the network's device."""
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
    """Seconds of each hop; waits for the device at both ends of it."""

    def __init__(self, device: torch.device, seconds: dict[str, float] | None = None) -> None:
        self.device = device
        self.seconds = seconds or {}

    @contextmanager
    def hop(self, name: str) -> Generator[None]:
        self._wait()
        start = time.perf_counter()
        yield
        self._wait()
        self.seconds[name] = time.perf_counter() - start

    def _wait(self) -> None:
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()  # torch.cuda, torch.mps, torch.xpu


def _check_pair(weights: tuple[Any, ...]) -> tuple[DeepLab, Entry]:
    if len(weights) == 2 and isinstance(weights[0], DeepLab) and isinstance(weights[1], Entry):
        return weights
    raise InputError(
        f"weights is a tuple of {', '.join(type(item).__name__ for item in weights)}; "
        "give a name, a path, or a (network, entry) pair as load_model returns it"
    )


def check_device(device: str | torch.device) -> torch.device:
    """Refuse a device that PyTorch cannot use here, before anything is loaded."""
    try:
        checked = torch.device(device)
        torch.zeros(1, device=checked)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(
            f"device {str(device)!r} does not work here with PyTorch {torch.__version__} "
            f"({str(error).splitlines()[0]}); use 'cpu'"
        ) from error
    return checked


def _copy_for(device: torch.device, model: DeepLab) -> DeepLab:
    """Give a network in evaluation mode on `device`; the one that came stays as it is."""
    is_ready = not any(module.training for module in model.modules())
    is_there = all(tensor.device == _placed(device) for tensor in model.parameters())
    if is_ready and is_there:
        return copy.copy(model)  # `scales` can be set on the copy alone
    return copy.deepcopy(model).to(device).eval()


def _placed(device: torch.device) -> torch.device:
    """Say where tensors sent to `device` land: `cuda` is `cuda:0`."""
    return torch.zeros(0, device=device).device


def _check_array(photo: NDArray[Any]) -> NDArray[np.uint8]:
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise InputError(
            f"photo is an array of {photo.dtype} and shape {photo.shape}; give uint8 RGB (0-255) "
            "of shape (H, W, 3)"
        )
    return photo
