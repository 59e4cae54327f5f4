"""Fixed inputs of the CRF benchmarks: photos, and the scores that a network could give for them.

    python benchmarks/crf_inputs.py     lists the cases and how many of their classes are live

Scores are drawn at an eighth of the photo's size, as DeepLab's are. Each live class is a blob
around a place and a colour of the photo, so that boundaries are smooth and roughly follow its
regions; the other classes stay below 1e-3 in every pixel. Upsampling is bilinear, corner to corner.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "voc12_mini" / "images"
STRIDE = 8
LIVE = 1e-3  # a class that reaches this somewhere is live


@dataclass(frozen=True)
class Case:
    """One size of input; `live` classes of `classes` pass `LIVE` somewhere."""

    width: int
    height: int
    classes: int
    live: int

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height}x{self.classes}"

    def with_live(self, factor: int) -> Case:
        """Give the case with that many times as many live classes."""
        return Case(self.width, self.height, self.classes, min(factor * self.live, self.classes))


CASES = {
    case.name: case
    for case in (
        Case(321, 321, 21, 4),
        Case(500, 375, 21, 4),
        Case(640, 480, 81, 6),
        Case(2048, 1024, 19, 4),
        Case(4000, 3000, 2, 2),
    )
}
QUICK = Case(96, 64, 21, 4)


def make_inputs(case: Case, *, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Make the input of a case.

    Args:
        case: Size, classes, live classes.
        seed: Chooses photo and scores.

    Returns:
        Probabilities (K, H, W) float32, and the photo (H, W, 3) uint8.
    """
    image = make_photo(case.width, case.height, seed=seed)
    probabilities = make_scores(image, case.classes, live=case.live, seed=seed)
    found = count_live(probabilities)
    if found != case.live:
        raise AssertionError(f"{case.name} has {found} live classes instead of {case.live}")
    return probabilities, image


def make_photo(width: int, height: int, *, seed: int) -> NDArray[np.uint8]:
    """Cut a photo to size, or tile it with its mirror images: its texture stays what it was."""
    photo = _read_photo(seed)
    while photo.shape[0] < height:
        photo = np.concatenate([photo, photo[::-1]], axis=0)
    while photo.shape[1] < width:
        photo = np.concatenate([photo, photo[:, ::-1]], axis=1)
    top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    return np.ascontiguousarray(photo[top : top + height, left : left + width])


def photo_source() -> str:
    """Say where the photos come from."""
    return "voc12_mini" if PHOTOS.is_dir() else "scikit-image"


def _read_photo(seed: int) -> NDArray[np.uint8]:
    if PHOTOS.is_dir():
        files = sorted(PHOTOS.iterdir())
        return np.array(Image.open(files[seed % len(files)]).convert("RGB"))
    try:
        from skimage import data
    except ImportError as error:
        raise SystemExit(f"no photos: {PHOTOS} is not there; pip install scikit-image") from error
    return (data.chelsea, data.coffee, data.astronaut)[seed % 3]()


def make_scores(
    image: NDArray[np.uint8], classes: int, *, live: int, seed: int
) -> NDArray[np.float32]:
    """Draw logits at an eighth of the size, upsample them, and take their softmax.

    Returns:
        (K, H, W) float32; exactly `live` classes pass `LIVE` somewhere.
    """
    height, width = image.shape[:2]
    generator = np.random.default_rng(seed)
    rows, columns = (height - 1) // STRIDE + 2, (width - 1) // STRIDE + 2
    small = Image.fromarray(image).resize((columns, rows), Image.Resampling.BOX)
    colours = np.asarray(small, np.float32) / 64  # 64 grey levels are as far as a quarter photo
    y, x = np.indices((rows, columns), np.float32) * (4 / np.array([rows, columns])[:, None, None])
    features = np.concatenate([np.stack([y, x], axis=2), colours], axis=2)

    low = np.full((classes, rows, columns), -14, np.float32)
    low += generator.normal(0, 0.5, low.shape).astype(np.float32)
    for number in generator.permutation(classes)[:live]:
        centre = features[generator.integers(rows), generator.integers(columns)]
        distance = ((features - centre) ** 2).sum(axis=2)
        noise = generator.normal(0, 0.3, (rows, columns))
        low[number] = 2 - np.minimum(0.6 * distance, 8) + noise
    return _softmax(_upsample(low, height, width))


def _upsample(low: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Pixel (y, x) lies at (y / 8, x / 8) of the scores; class by class, to stay small."""
    y, x = np.arange(height, dtype=np.float32) / STRIDE, np.arange(width, dtype=np.float32) / STRIDE
    y0, x0 = y.astype(int), x.astype(int)
    dy, dx = (y - y0)[:, None], x - x0
    high = np.empty((len(low), height, width), np.float32)
    for scores, result in zip(low, high, strict=True):
        lines = scores[y0] * (1 - dy) + scores[y0 + 1] * dy
        result[:] = lines[:, x0] * (1 - dx) + lines[:, x0 + 1] * dx
    return high


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    logits -= logits.max(axis=0)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=0)
    return logits


def count_live(probabilities: NDArray[np.float32]) -> int:
    return int((probabilities.max(axis=(1, 2)) > LIVE).sum())


def digest(*arrays: NDArray[np.generic]) -> str:
    """Give a short fingerprint, to compare inputs between runs."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


def main() -> None:
    print(f"photos: {photo_source()}")
    for case in (QUICK, *CASES.values()):
        for factor in (1, 2, 4):
            wanted = case.with_live(factor)
            scores, image = make_inputs(wanted)
            labels = np.bincount(scores.argmax(axis=0).ravel(), minlength=case.classes)
            shares = ", ".join(f"{n / labels.sum():.0%}" for n in sorted(labels, reverse=True)[:6])
            print(
                f"{case.name:>13}  live {count_live(scores):>2} of {case.classes:>2}  "
                f"{digest(scores, image)}  labels {shares}"
            )


if __name__ == "__main__":
    main()
