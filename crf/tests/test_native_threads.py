"""The compiled kernel with several threads, processes and instruction sets, and the GIL."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from atrous_crf import _native


def f32(values: object) -> np.ndarray:
    return np.ascontiguousarray(values, np.float32)


def photo(height: int, width: int, seed: int) -> np.ndarray:
    """Return an image with two regions of noisy color."""
    image = np.random.default_rng(seed).integers(60, 85, (height, width, 3), np.uint8)
    image[:, width // 2 :] += 90
    return image


def energies(num_classes: int, points: int, seed: int = 1) -> np.ndarray:
    return f32(np.random.default_rng(seed).gamma(2.0, 1.0, (num_classes, points)))


def refine(
    threads: int = 1, num_classes: int = 7, seed: int = 0, widths: tuple[int, int, int] = (1, 30, 5)
) -> np.ndarray:
    xy, image_xy, rgb = widths
    height, width = 150, 170
    field = _native.MeanField(
        num_classes, height * width, height=height, width=width, threads=threads
    )
    field.set_unary(energies(num_classes, height * width, seed))
    field.add_positions(xy, xy, f32(3.0).reshape(()), 3)
    stds = f32([rgb] * 3)
    image = photo(height, width, seed)
    field.add_image(image, image_xy, image_xy, stds, f32(4.0).reshape(()), 3)
    return field.infer(3)


@pytest.mark.parametrize("widths", [(1, 30, 5), (5, 60, 40)])  # narrow; wide
@pytest.mark.parametrize("num_classes", [2, 7, 40])
def test_threads_do_not_change_the_result(num_classes: int, widths: tuple[int, int, int]) -> None:
    alone = refine(1, num_classes, widths=widths)
    for threads in (2, 3, 8):
        assert np.array_equal(refine(threads, num_classes, widths=widths), alone)


def test_many_python_threads_at_once() -> None:
    alone = [refine(1, seed=seed) for seed in range(3)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda i: refine(1 + i % 2, seed=i % 3), range(12)))
    for i, result in enumerate(together):
        assert np.array_equal(result, alone[i % 3])


@pytest.mark.parametrize("simd", ["baseline", "avx2"])
def test_instruction_sets_agree(simd: str, tmp_path: Path) -> None:
    code = (
        "import sys; import numpy as np; from atrous_crf import _native;"
        "import test_native_threads as t;"
        "np.save(sys.argv[1], t.refine(num_classes=int(sys.argv[2]))); print(_native.simd())"
    )
    places = [str(Path(__file__).parent), str(Path(_native.__file__).parents[1])]
    environment = {**os.environ, "ATROUS_SIMD": simd, "PYTHONPATH": os.pathsep.join(places)}
    for num_classes in (2, 21, 40):
        command = [sys.executable, "-c", code, str(tmp_path / "q.npy"), str(num_classes)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() in {"baseline", simd}
        result = np.load(tmp_path / "q.npy")
        assert np.abs(result - refine(num_classes=num_classes)).max() < 1e-4


def test_the_gil_is_free_during_inference() -> None:
    field = _native.MeanField(21, 300 * 300, height=300, width=300, threads=1)
    field.set_unary(energies(21, 90000))
    field.add_positions(1, 1, f32(3.0).reshape(()), 3)
    done = threading.Event()

    def work() -> None:
        field.infer(10)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    turns = 0
    while not done.is_set():
        turns += 1
        time.sleep(0.001)
    thread.join()
    assert turns > 3


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork, which only Linux uses")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_works_too() -> None:
    expected = refine(2)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(False)
    child = context.Process(target=lambda: sender.send(refine(2)))
    child.start()
    assert receiver.poll(60), "the child hangs"
    assert np.array_equal(receiver.recv(), expected)
    child.join()
