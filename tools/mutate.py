"""Change the code in ways that give wrong results, and see whether a test notices.

    python tools/mutate.py              apply each mutation to a copy of the tree, run its tests
    python tools/mutate.py --write      and write docs/proofs/mutations.md

The working tree is never changed. A mutation is killed if a test fails or time runs out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROOF = ROOT / "docs/proofs/mutations.md"
COMMAND = "python tools/mutate.py --write"
TIMEOUT_S = 300
COPIED = ("src", "crf", "tests", "recipes", "models", "docs", "README.md", "pyproject.toml")


@dataclass(frozen=True)
class Mutation:
    """One change: `text`, which occurs once in `path`, becomes `wrong`; `tests` must notice."""

    path: str
    text: str
    wrong: str
    tests: str


MUTATIONS = (
    Mutation("src/atrous/data/loader.py", "start + rank * batch_size", "start",
             "tests/data/test_loader.py"),
    Mutation("crf/src/atrous_crf/kernel.py", "return 1 if in_worker else", "return",
             "crf/tests/test_threads.py"),
    Mutation("src/atrous/tune_crf/search.py", "(-scores[point], point)", "-scores[point]",
             "tests/tune_crf/test_search.py"),
    Mutation("src/atrous/training/run.py", ", self.iteration / (self.iteration + 9))", ", 1.0)",
             "tests/training/test_run.py"),
    Mutation("src/atrous/training/run.py", "start=self.iteration * samples,", "start=0,",
             "tests/training/test_run.py"),
    Mutation("src/atrous/preprocess.py", '== "bgr" else', '== "rgb" else',
             "tests/test_preprocess.py"),
    Mutation("src/atrous/preprocess.py", "- mean) / std", "- mean) * std",
             "tests/test_preprocess.py"),
    Mutation("src/atrous/resize.py",
             'F.interpolate(logits, size=size_hw, mode="bilinear", align_corners=align_corners)',
             'F.interpolate(logits, size=size_hw, mode="bilinear", align_corners=False)',
             "tests/test_resize.py"),
    Mutation("src/atrous/models/deeplab.py", "return fused[..., :rows, :columns]", "return fused",
             "tests/models/test_deeplab.py"),
    Mutation("src/atrous/models/multiscale.py", "torch.maximum(", "torch.minimum(",
             "tests/models/test_multiscale.py"),
    Mutation("src/atrous/predict/segmenter.py", "views[1].flip(-1)", "views[1]",
             "tests/predict/test_segmenter.py"),
    Mutation("src/atrous/predict/segmenter.py", "np.uint8 if len(probabilities) <= 256",
             "np.uint8 if True",
             "tests/predict/test_segmenter.py"),
    Mutation("crf/src/atrous_crf/densecrf.py", "_potts(params.bilateral_weight,",
             "_potts(params.spatial_weight,", "crf/tests/test_densecrf.py"),
    Mutation("src/atrous/image_io.py", "LEAST_PROBABILITY = 1e-5", "LEAST_PROBABILITY = 1e-2",
             "tests/test_image_io.py"),
    Mutation("src/atrous/metrics/confusion.py", "truth != ignore_index", "truth != -1",
             "tests/metrics/test_confusion.py"),
    Mutation("src/atrous/metrics/boundary.py", 'side="right"', 'side="left"',
             "tests/metrics/test_boundary.py"),
    Mutation("src/atrous/metrics/boundary.py", "round(BOUNDARY_SHARE *",
             "round(2 * BOUNDARY_SHARE *", "tests/metrics/test_boundary.py"),
    Mutation("src/atrous/training/optimizer.py", " ** config.power", "",
             "tests/training/test_optimizer.py"),
    Mutation("src/atrous/training/optimizer.py", "config.head_lr_factor if is_last else 1) * (2",
             "1 if is_last else 1) * (2", "tests/training/test_optimizer.py"),
    Mutation("src/atrous/training/losses.py", "    maps.insert(0, fuse_scales(",
             "    (fuse_scales(", "tests/training/test_losses.py"),
    Mutation("src/atrous/training/data.py", "share**-power", "share**power",
             "tests/training/test_run.py"),
    Mutation("src/atrous/image_io.py", "image.putpalette(colours.tobytes())",
             "image.putpalette(colours[::-1].tobytes())", "tests/test_label_files.py"),
    Mutation("src/atrous/image_io.py", "image = ImageOps.exif_transpose(image)", "pass",
             "tests/test_image_io.py"),
    Mutation("src/atrous/data/street.py", "LABEL_IDS = (7, 8, 11,", "LABEL_IDS = (8, 7, 11,",
             "tests/data/test_official_layouts.py"),
    Mutation("src/atrous/data/transforms.py", "image.flip(2), labels.flip(1)",
             "image.flip(2), labels", "tests/data/test_transforms.py"),
    Mutation("src/atrous/weights/checkpoint.py", "for key in needed if key not in given]",
             "for key in needed if False]", "tests/weights/test_checkpoint.py"),
    Mutation("src/atrous/weights/download.py", "if found != sha256:", "if False:",
             "tests/weights/test_download.py"),
)  # fmt: skip


def is_killed(mutation: Mutation, tree: Path) -> bool:
    """Apply a mutation to a copy of the tree and run its tests."""
    path = tree / mutation.path
    text = path.read_text("utf-8")
    assert text.count(mutation.text) == 1, f"{mutation.text!r} in {mutation.path}"
    path.write_text(text.replace(mutation.text, mutation.wrong), "utf-8")
    places = os.pathsep.join(str(tree / place) for place in ("src", "crf/src"))
    environment = {**os.environ, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutation.tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(text, "utf-8")
    # 2 to 5 mean that the tests did not run, which says nothing about the mutation.
    assert done.returncode in (0, 1), done.stdout.decode()[-2000:]
    return done.returncode == 1


def find_survivors() -> list[Mutation]:
    survivors: list[Mutation] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            source, target = ROOT / name, Path(folder) / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        for mutation in MUTATIONS:
            killed = is_killed(mutation, Path(folder))
            print(
                f"{'killed  ' if killed else 'SURVIVED'} {mutation.path}: {mutation.wrong!r}",
                flush=True,
            )
            if not killed:
                survivors.append(mutation)
    return survivors


def write_proof(survivors: list[Mutation], seconds: float) -> None:
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    listed = "\n".join(f"* `{m.path}`: `{m.text}` -> `{m.wrong}`" for m in survivors) or "None."
    PROOF.write_text(
        "# Mutations of the code that tests must notice\n\nMade by\n\n```bash\n"
        f"{COMMAND}\n```\n\n"
        "| commit | mutations | killed | survived | seconds |\n|---|---|---|---|---|\n"
        f"| {commit.stdout.strip() or 'unknown'} | {len(MUTATIONS)} "
        f"| {len(MUTATIONS) - len(survivors)} | {len(survivors)} | {seconds:.0f} |\n\n"
        f"## Survivors\n\n{listed}\n",
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/proofs/mutations.md")
    options = parser.parse_args()
    start = time.monotonic()
    survivors = find_survivors()
    if options.write:
        write_proof(survivors, time.monotonic() - start)
    print(f"{len(survivors)} of {len(MUTATIONS)} mutations survived")


if __name__ == "__main__":
    main()
