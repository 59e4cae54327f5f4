"""Refine the scores that another program saved, and count the pixels that changed.

    python examples/crf_on_other_scores.py IMAGES SCORES OUTPUT [--logits]

SCORES holds one file per image, STEM.npy or STEM.npz, with an array (classes, rows, columns) of the
image's size: probabilities, or with --logits the network's raw output.
OUTPUT/STEM.png receives class indices, OUTPUT/STEM.npz the refined probabilities.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from atrous.crf import CRFParams, DenseCRF
from atrous.image_io import read_image, write_labels, write_probabilities
from atrous.labels import LabelSet, voc_palette
from atrous.scores import SUFFIXES, read_scores

parser = argparse.ArgumentParser(description="Refine the scores that another program saved.")
parser.add_argument("images", type=Path)
parser.add_argument("scores", type=Path)
parser.add_argument("output", type=Path)
parser.add_argument("--logits", action="store_true", help="the scores are logits")
arguments = parser.parse_args()

# Weights and widths of the two kernels. `atrous tune-crf` finds the ones that suit a network.
params = CRFParams(bilateral_weight=4, bilateral_xy_std=67, bilateral_rgb_std=3)
crf = DenseCRF(params)
arguments.output.mkdir(parents=True, exist_ok=True)
files = [p for p in sorted(arguments.scores.iterdir()) if p.suffix.lower() in SUFFIXES]

for path in files:
    photo = next(arguments.images.glob(f"{path.stem}.*"))
    image = read_image(photo)  # (H, W, 3) uint8 RGB
    scores = read_scores(path, image.shape[:2], logits=arguments.logits)
    refined = crf.refine(scores.probabilities, image)  # (K, H, W) float32, pixels sum to 1

    names = scores.names or tuple(map(str, scores.labels))
    label_set = LabelSet(names, voc_palette(len(names)))
    labels = refined.argmax(axis=0)
    write_labels(arguments.output / f"{path.stem}.png", labels, label_set)
    write_probabilities(arguments.output / f"{path.stem}.npz", refined, label_set)

    changed = (labels != scores.probabilities.argmax(axis=0)).mean()
    print(f"{photo.name}: {len(names)} classes, {changed:.1%} of the labels changed")

print(f"{len(files)} results are in {arguments.output}")
