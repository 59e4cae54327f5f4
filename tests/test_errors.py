"""One tree of errors, each of them also the built-in that says the same."""

from __future__ import annotations

import pytest

import atrous
from atrous import errors
from atrous.image_io import read_image


@pytest.mark.parametrize(
    ("kind", "built_in"),
    [
        (errors.InputError, ValueError),
        (errors.DataError, ValueError),
        (errors.WeightsError, ValueError),
        (errors.TrainingError, FloatingPointError),
        (errors.MissingPackageError, ImportError),
        (errors.OutOfMemoryError, MemoryError),
    ],
)
def test_each_error_is_also_the_built_in(kind: type[Exception], built_in: type[Exception]) -> None:
    assert issubclass(kind, built_in)
    assert issubclass(kind, atrous.AtrousError)


def test_wrong_input_is_caught_as_either() -> None:
    for kind in (atrous.AtrousError, atrous.InputError, ValueError):
        with pytest.raises(kind, match="no network is called"):
            atrous.create_model("deeplabv3", num_classes=2)
    with pytest.raises(atrous.DataError):
        read_image(__file__)
    with pytest.raises(atrous.WeightsError):
        atrous.load_model("nowhere")
