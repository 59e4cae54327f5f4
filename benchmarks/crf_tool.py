"""Images a second of `atrous crf` on COCO-sized scores, beside a loop over pydensecrf.

    python benchmarks/crf_tool.py             24 images of 640x480, 81 classes
    python benchmarks/crf_tool.py --quick     a few tiny ones, to see that it runs

Both start from the same files, photos as JPEG and scores as `atrous segment --probabilities` writes
them, end with label files, and use one process or thread a core. Writes
benchmarks/results/crf_tool.json.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from crf_contenders import PARAMS, PYDENSECRF, is_installed, make
from crf_inputs import CASES, QUICK, Case, make_inputs, photo_source
from measuring import RESULTS, describe_run, write_result
from PIL import Image

from atrous.image_io import read_image, read_labels, write_image, write_probabilities
from atrous.labels import LabelSet, voc_palette

COCO_14_VAL = 40_504  # images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three tiny images")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--peer-images", type=int, default=8, help="images for pydensecrf")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, default=RESULTS / "crf_tool.json")
    options = parser.parse_args()
    case, count = (QUICK, 3) if options.quick else (CASES["640x480x81"], options.images)
    result: dict[str, Any] = {"run": describe_run(), "photos": photo_source(), "case": case.name}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_inputs(root, case, count)
        rows = [
            run_tool(root, "atrous crf", count, options.workers),
            run_tool(root, "atrous crf, pruned", count, options.workers, "--prune-below=0.001"),
        ]
        if is_installed(PYDENSECRF):
            rows.append(run_peer(root, min(options.peer_images, count), options.workers))
        else:
            print("pydensecrf is not installed (pip install pydensecrf2==1.1)")
        check(root, [row["name"] for row in rows])
    for row in rows:
        row["hours_for_coco_14_val"] = COCO_14_VAL / row["images_per_s"] / 3600
        print(
            f"{row['name']:<20} {row['workers']} workers  {row['images_per_s']:7.2f} images/s  "
            f"{row['hours_for_coco_14_val']:6.2f} h for COCO-14 val"
        )
    write_result(options.json, result | {"rows": rows})


def write_inputs(root: Path, case: Case, count: int) -> None:
    names = LabelSet(tuple(map(str, range(case.classes))), voc_palette(case.classes), None)
    for kind in ("photos", "scores"):
        (root / kind).mkdir()
    for seed in range(count):
        scores, image = make_inputs(case, seed=seed)
        write_image(root / "photos" / f"{seed}.jpg", image)
        write_probabilities(root / "scores" / f"{seed}.npz", scores, names)


def run_tool(root: Path, name: str, count: int, workers: int, *options: str) -> dict[str, Any]:
    """Run the command as a user does; its start counts."""
    command = [sys.executable, "-m", "atrous", "crf", f"--workers={workers}", *options]
    paths = ["--images", root / "photos", "--probabilities", root / "scores", "-o", root / name]
    start = time.perf_counter()
    subprocess.run([*command, *map(str, paths)], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    return {"name": name, "workers": workers, "images": count, "images_per_s": count / seconds}


def run_peer(root: Path, count: int, workers: int) -> dict[str, Any]:
    (root / PYDENSECRF).mkdir()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(abs, range(workers))  # its processes are there
        start = time.perf_counter()
        pool.map(partial(refine_with_peer, root), range(count), chunksize=1)
        seconds = time.perf_counter() - start
    return {
        "name": PYDENSECRF,
        "workers": workers,
        "images": count,
        "images_per_s": count / seconds,
    }


def refine_with_peer(root: Path, seed: int) -> None:
    """Take one image from files to labels, as scripts around pydensecrf do."""
    image = read_image(root / "photos" / f"{seed}.jpg")
    with np.load(root / "scores" / f"{seed}.npz") as stored:
        scores = np.exp(-stored["step"] * stored["unary"])
    refined = make(PYDENSECRF, PARAMS["deeplab"], threads=1)(scores, image)
    labels = refined.argmax(axis=0).astype(np.uint8)
    Image.fromarray(labels).save(root / PYDENSECRF / f"{seed}.png")


def check(root: Path, names: list[str]) -> None:
    """Stop where labels differ."""
    for name in names:
        for file in sorted((root / name).glob("*.png")):
            equal = (read_labels(file) == read_labels(root / names[0] / file.name)).mean()
            if equal < 0.9995:
                raise SystemExit(f"{name} has {equal:.3%} of the labels of {names[0]}")


if __name__ == "__main__":
    main()
