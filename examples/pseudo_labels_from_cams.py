"""Turn class activation maps into pseudo-labels with the dense CRF; leave out unsure pixels.

    python examples/pseudo_labels_from_cams.py IMAGES CAMS OUTPUT

CAMS holds one file per image, STEM.npy: the dictionary that weakly supervised code saves, with the
class numbers in `keys` and their maps (classes, rows, columns) in `high_res` or `cam`.
OUTPUT/STEM.png receives class indices: 0 is background, class c of the file is c + 1, and 255 marks
the pixels that are too unsure to train on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from atrous.crf import DenseCRF
from atrous.image_io import IMAGE_SUFFIXES, read_image, write_labels
from atrous.labels import IGNORE_INDEX, LabelSet, voc_palette
from atrous.scores import read_scores

parser = argparse.ArgumentParser(description="Turn class activation maps into pseudo-labels.")
parser.add_argument("images", type=Path)
parser.add_argument("cams", type=Path)
parser.add_argument("output", type=Path)
parser.add_argument("--background", type=float, default=0.3, help="score of the background")
parser.add_argument("--sure", type=float, default=0.6, help="keep pixels whose class is as likely")
parser.add_argument("--classes", type=int, default=21, help="number of classes with background")
arguments = parser.parse_args()

crf = DenseCRF()  # the paper's parameters
label_set = LabelSet(
    names=tuple(map(str, range(arguments.classes))), palette=voc_palette(arguments.classes)
)
arguments.output.mkdir(parents=True, exist_ok=True)
images = [p for p in sorted(arguments.images.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES]

for path in images:
    image = read_image(path)  # (H, W, 3) uint8 RGB

    # Maps have no background. It gets a constant score, and then every pixel sums to 1.
    scores = read_scores(
        arguments.cams / f"{path.stem}.npy", image.shape[:2], background=arguments.background
    )
    refined = crf.refine(scores.probabilities, image)  # (K, H, W) float32

    # The file holds only the classes of this image: row k has the label scores.labels[k].
    labels = np.array(scores.labels, np.uint8)[refined.argmax(axis=0)]
    labels[refined.max(axis=0) < arguments.sure] = IGNORE_INDEX
    write_labels(arguments.output / f"{path.stem}.png", labels, label_set)

    unsure = (labels == IGNORE_INDEX).mean()
    print(f"{path.name}: labels {sorted(scores.labels)}, {unsure:.1%} of the pixels left out")

print(f"{len(images)} pseudo-labels are in {arguments.output}")
