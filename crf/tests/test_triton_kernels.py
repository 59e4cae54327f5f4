"""The CUDA kernels in Triton's interpreter, which needs triton and minutes, but no device."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

PROGRAM = """
import torch
from atrous_crf import CRFParams, triton_kernels as kernels
from atrous_crf.torch_lattice import crf_lattices, mean_field

kernels.LONG_LIST = 5  # so that both ways of summing are used
generator = torch.Generator().manual_seed(0)
images = torch.randint(0, 60, (2, 7, 8, 3), generator=generator, dtype=torch.uint8)
images[:, :, :4] = 7
values = torch.rand(2 * 7 * 8, {num_classes}, generator=generator)
params = CRFParams(2, 3, 1.3, 4, 20, 30)
terms = crf_lattices(images, params, accuracy="{accuracy}", dtype=torch.float32)
for lattice in terms:
    assert 0 < len(lattice.vertices_with_more_than(5)) < lattice.num_vertices
    splatted = lattice.splat(values)
    for reverse in (False, True):
        expected = lattice.slice(lattice.blur(splatted, reverse=reverse))
        filtered = kernels.filter_rows(lattice, values, reverse=reverse)
        torch.testing.assert_close(filtered, expected, atol=1e-5, rtol=1e-5)
weighted = list(zip(terms, (3.0, 4.0)))
expected = mean_field(values.log(), weighted, iterations=2)
result = kernels.mean_field(values.log(), weighted, iterations=2)
torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="triton is not installed: it comes with torch's CUDA builds",
)
@pytest.mark.parametrize("accuracy", ["lattice", "high"])
@pytest.mark.parametrize("num_classes", [1, 2, 21])
def test_interpreted_kernels_do_what_torch_does(num_classes: int, accuracy: str) -> None:
    program = PROGRAM.format(num_classes=num_classes, accuracy=accuracy)
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
