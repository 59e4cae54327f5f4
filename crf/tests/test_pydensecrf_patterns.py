"""Published uses of pydensecrf, run with this package under that name."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from atrous_crf import install_as_pydensecrf
from atrous_crf.pydensecrf import densecrf as ours

GOLDEN = Path(__file__).parent / "golden/pydensecrf_options.npz"
NAMES = ("pydensecrf", "pydensecrf.densecrf", "pydensecrf.eigen", "pydensecrf.utils")


@pytest.fixture
def clean_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for name in NAMES:
            patch.delitem(sys.modules, name, raising=False)
        yield
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture
def installed(clean_modules: None) -> None:
    install_as_pydensecrf()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    with np.load(GOLDEN) as file:
        return file["img"]


def soft_blobs(classes: int, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    scores = np.stack(
        [
            np.cos(y / height * (k + 1)) + np.sin(x / width * (classes - k) + k)
            for k in range(classes)
        ]
    )
    return (np.exp(2 * scores) / np.exp(2 * scores).sum(0)).astype(np.float32)


@pytest.mark.usefixtures("installed")
def test_cam_refinement(image: np.ndarray) -> None:
    import pydensecrf.densecrf as dcrf  # type: ignore[import-not-found]
    from pydensecrf.utils import unary_from_labels  # type: ignore[import-not-found]

    # Class activation maps: the keys are the classes in the image; background where none is strong.
    height, width = image.shape[:2]
    cams = soft_blobs(2, height, width)
    keys = np.array([0, 8, 15])
    padded = np.pad(cams, ((1, 0), (0, 0), (0, 0)), constant_values=0.55)
    label = np.argmax(padded, axis=0)
    crf = dcrf.DenseCRF2D(width, height, len(keys))
    crf.setUnaryEnergy(unary_from_labels(label, len(keys), gt_prob=0.7, zero_unsure=False))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=50, srgb=5, rgbim=np.ascontiguousarray(np.copy(image)), compat=10)
    q = crf.inference(10)
    refined = keys[np.argmax(np.array(q).reshape((len(keys), height, width)), axis=0)]
    assert set(np.unique(refined)) <= set(keys)
    assert 0.3 < (refined == keys[label]).mean() < 1


@pytest.mark.usefixtures("installed")
def test_constrain_loss_of_small_score_maps(image: np.ndarray) -> None:
    import pydensecrf.densecrf as dcrf
    import pydensecrf.utils as utils

    # A loss on 41x41 score maps: the image and the widths are scaled down by 12.
    size, classes, scale = 41, 21, 12.0
    rows = np.linspace(0, image.shape[0] - 1, size).astype(int)
    columns = np.linspace(0, image.shape[1] - 1, size).astype(int)
    small = image[rows][:, columns]
    batch = np.stack([soft_blobs(classes, size, size), soft_blobs(classes, size, size)[::-1]])
    logs = np.zeros_like(batch)
    for i, probabilities in enumerate(batch):
        crf = dcrf.DenseCRF2D(size, size, classes)
        unary = utils.unary_from_softmax(probabilities)
        crf.setUnaryEnergy(np.ascontiguousarray(unary))
        crf.addPairwiseGaussian(sxy=3 / scale, compat=3)
        crf.addPairwiseBilateral(sxy=80 / scale, srgb=13, rgbim=np.copy(small), compat=10)
        q = np.array(crf.inference(10)).reshape((classes, size, size))
        logs[i] = np.log(np.maximum(q, 1e-5) / np.maximum(q, 1e-5).sum(0))
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(np.exp(logs).sum(1), 1, atol=1e-4)


@pytest.mark.usefixtures("installed")
def test_features_that_are_no_rgb_image() -> None:
    import pydensecrf.densecrf as dcrf
    from pydensecrf.utils import create_pairwise_bilateral, unary_from_softmax

    # One channel of real numbers over 100x40 points, as in the original's non-RGB example.
    width, height = 40, 30
    depth = np.linspace(0, 1, width)[None, :, None] * np.ones((height, 1, 1))
    probabilities = soft_blobs(2, height, width)
    crf = dcrf.DenseCRF2D(width, height, 2)
    crf.setUnaryEnergy(unary_from_softmax(probabilities))
    energy = create_pairwise_bilateral(sdims=(10, 10), schan=(0.1,), img=depth, chdim=2)
    crf.addPairwiseEnergy(energy, compat=10)
    q, tmp1, tmp2 = crf.startInference()
    divergences = [crf.klDivergence(q)]
    for _ in range(5):
        crf.stepInference(q, tmp1, tmp2)
        divergences.append(crf.klDivergence(q))
    assert divergences == sorted(divergences, reverse=True)
    assert np.argmax(q, axis=0).reshape((height, width)).shape == (height, width)


@pytest.mark.usefixtures("installed")
def test_video_loop_sets_the_unary_of_each_frame(image: np.ndarray) -> None:
    import pydensecrf.densecrf as dcrf

    height, width = image.shape[:2]
    first = soft_blobs(2, height, width)
    frames = [np.roll(first, shift, axis=2) for shift in (0, 5, 11)]

    def make() -> Any:
        crf = dcrf.DenseCRF2D(width, height, 2)
        crf.addPairwiseGaussian((3, 3), 3, dcrf.DIAG_KERNEL, dcrf.NORMALIZE_SYMMETRIC)
        crf.addPairwiseBilateral((80, 80), (13, 13, 13), image, 10, kernel=dcrf.DIAG_KERNEL)
        return crf

    one = make()
    for frame in frames:
        energy = -np.log(frame.reshape((2, -1)))
        fresh = make()
        for crf in (one, fresh):
            crf.setUnaryEnergy(energy)
        np.testing.assert_array_equal(np.array(one.inference(5)), np.array(fresh.inference(5)))


def test_arrays_may_change_after_the_call(image: np.ndarray) -> None:
    height, width = image.shape[:2]
    results = []
    for spoil in (False, True):
        energy = -np.log(soft_blobs(3, height, width)).reshape(3, -1)
        photo, features = image.copy(), np.ones((2, height * width), np.float32)
        compat = np.full(3, -2, np.float32)
        crf = ours.DenseCRF2D(width, height, 3)
        crf.setUnaryEnergy(energy)
        crf.addPairwiseBilateral(20, 13, photo, compat)
        crf.addPairwiseEnergy(features, 1)
        if spoil:
            for array in (energy, photo, features, compat):
                array[:] = 0
        results.append(np.array(crf.inference(2)))
    np.testing.assert_array_equal(*results)


def test_classes_can_be_subclassed(image: np.ndarray) -> None:
    class PhotoCRF(ours.DenseCRF2D):
        def __init__(self, photo: np.ndarray, labels: int) -> None:
            super().__init__(photo.shape[1], photo.shape[0], labels)
            self.addPairwiseBilateral(sxy=20, srgb=13, rgbim=photo, compat=4)

        def inference(self, niter: int = 2) -> Any:
            return np.array(super().inference(niter)).reshape(-1, *image.shape[:2])

    class Zero(ours.ConstUnary):
        def __init__(self, crf: PhotoCRF) -> None:
            super().__init__(np.zeros((3, image.shape[0] * image.shape[1]), np.float32))

    crf = PhotoCRF(image, 3)
    crf.setUnary(Zero(crf))
    np.testing.assert_allclose(crf.inference(), 1 / 3, atol=1e-5)


def test_many_threads_agree(image: np.ndarray) -> None:
    height, width = image.shape[:2]
    energy = -np.log(soft_blobs(4, height, width)).reshape(4, -1)

    def run(crf: ours.DenseCRF2D | None = None) -> np.ndarray:
        if crf is None:
            crf = ours.DenseCRF2D(width, height, 4)
            crf.addPairwiseGaussian(3, 3)
            crf.addPairwiseBilateral(20, 13, image, 10)
        crf.setUnaryEnergy(energy)
        return np.array(crf.inference(3))

    expected = run()
    shared = ours.DenseCRF2D(width, height, 4)
    shared.addPairwiseGaussian(3, 3)
    shared.addPairwiseBilateral(20, 13, image, 10)
    with ThreadPoolExecutor(6) as pool:
        own, together = pool.map(lambda _: run(), range(12)), pool.map(run, [shared] * 12)
        for result in [*own, *together]:
            np.testing.assert_array_equal(result, expected)


def test_inference_lets_other_threads_run() -> None:
    crf = ours.DenseCRF2D(160, 120, 21)
    crf.setUnaryEnergy(-np.log(soft_blobs(21, 120, 160)).reshape(21, -1))
    crf.addPairwiseGaussian(3, 3)
    crf.inference(1)
    worker = threading.Thread(target=crf.inference, args=(200,))
    turns = 0
    worker.start()
    while worker.is_alive():
        turns += 1
    assert turns > 100  # with the GIL held there would be one or two


@pytest.mark.usefixtures("clean_modules")
def test_install_is_repeatable_and_complete() -> None:
    install_as_pydensecrf()
    install_as_pydensecrf()
    import pydensecrf
    import pydensecrf.eigen  # type: ignore[import-not-found]

    assert pydensecrf.densecrf is sys.modules["pydensecrf.densecrf"] is ours
    assert pydensecrf.eigen.__name__ == "atrous_crf.pydensecrf.eigen"
    assert set(NAMES) <= set(sys.modules)


@pytest.mark.usefixtures("clean_modules")
@pytest.mark.parametrize("name", ["pydensecrf", "pydensecrf.utils"])
def test_install_refuses_beside_the_real_one(name: str) -> None:
    real = ModuleType(name)
    real.__file__ = "/somewhere/pydensecrf/__init__.py"
    sys.modules[name] = real
    with pytest.raises(ImportError, match=f"{name} is already imported from /somewhere/pydens"):
        install_as_pydensecrf()
    assert sys.modules[name] is real
    assert not (set(NAMES) - {name}) & set(sys.modules)


SCRIPT = """
import multiprocessing
import sys

import helper_beside_script
import numpy as np
import pydensecrf.densecrf as dcrf
from pydensecrf.utils import unary_from_softmax


def refine(labels):
    crf = dcrf.DenseCRF2D(6, 4, labels)
    crf.setUnaryEnergy(unary_from_softmax(np.full((labels, 4, 6), 1 / labels)))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    return float(np.array(crf.inference(5)).sum())


if __name__ == "__main__":
    assert sys.modules["__main__"].refine is refine
    refine(2)
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print(sys.argv, [round(total) for total in pool.map(refine, [2, 3])])
"""


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "atrous_crf.pydensecrf", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_an_unchanged_script_runs_with_its_workers(tmp_path: Path, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "helper_beside_script.py").write_text("")
    done = run_script(str(script), method, "--option")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{[str(script), method, '--option']} [24, 24]"


def test_script_errors_and_exit_codes_are_kept(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys\nif sys.argv[1:]: sys.exit(7)\nmissing")
    assert run_script(str(script), "x").returncode == 7
    failed = run_script(str(script))
    assert failed.returncode == 1
    assert f'File "{script}", line 3' in failed.stderr
    assert "NameError: name 'missing'" in failed.stderr


def test_script_sees_the_file_name_that_python_gives(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nprint([__file__, sys.argv])")
    for name in ("script.py", str(Path("..", tmp_path.name, "script.py"))):
        outputs = [
            subprocess.run(
                [sys.executable, *module, name, "x"],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
                cwd=tmp_path,
            ).stdout
            for module in ([], ["-m", "atrous_crf.pydensecrf"])
        ]
        assert outputs[0] == outputs[1]


def test_runner_without_a_script_explains_itself() -> None:
    assert run_script().returncode == 2
    assert "usage: python -m atrous_crf.pydensecrf SCRIPT" in run_script("--help").stdout
    missing = run_script("no_such.py")
    assert missing.returncode == 2
    assert "no_such.py does not exist" in missing.stderr


def test_no_top_level_pydensecrf_is_shipped(project: Path) -> None:
    assert not (project / "src/pydensecrf").exists()
    assert not list((project / "src").glob("pydensecrf*"))
