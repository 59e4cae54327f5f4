"""A result shows itself in notebooks and gives its labels to numpy."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from atrous.models import DeepLab
from atrous.predict import Segmenter
from atrous.weights import Entry

Pair = tuple[DeepLab, Entry]


def test_numpy_takes_the_labels(pair: Pair, photo: np.ndarray) -> None:
    result = Segmenter(pair)(photo)
    assert np.asarray(result) is result.labels
    np.testing.assert_array_equal(np.asarray(result, np.int64), result.labels)
    copy = np.array(result)
    copy[:] = 1
    assert not np.shares_memory(copy, result.labels)


def test_numpy_is_told_where_a_copy_cannot_be_avoided(pair: Pair, photo: np.ndarray) -> None:
    with pytest.raises(ValueError, match="copy"):
        np.array(Segmenter(pair)(photo), np.float32, copy=False)


def test_a_notebook_shows_the_overlay(pair: Pair, photo: np.ndarray) -> None:
    result = Segmenter(pair)(photo)
    shown = Image.open(io.BytesIO(result._repr_png_()))
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(result.overlay()))


def test_the_text_is_one_short_line(pair: Pair, photo: np.ndarray) -> None:
    segmenter = Segmenter(pair, crf=False, flip=True, scales=(1, 0.5), device="cpu")
    rows, columns = photo.shape[:2]
    assert repr(segmenter(photo)).startswith(f"<Segmentation {columns}x{rows}: ")
    assert len(repr(segmenter(photo))) < 100
    assert repr(segmenter) == (
        f"<Segmenter {pair[1].name}: {pair[1].label_set.num_classes} classes, cpu, crf off, "
        "scales (1.0, 0.5), flip>"
    )
