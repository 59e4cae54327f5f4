"""Fine-tune a small network on your own images and masks, and score it.

    python examples/finetune_on_a_folder.py FOLDER OUTPUT [--iterations 2000]

FOLDER holds images/, labels/ (PNG of class indices, 255 where unknown), splits/train.txt and
splits/val.txt (one file name without suffix per line), and classes.txt (one class name per line).
OUTPUT receives the weights, a log, and an HTML report of the run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import atrous

parser = argparse.ArgumentParser(description="Fine-tune a small network on images and masks.")
parser.add_argument("folder", type=Path)
parser.add_argument("output", type=Path)
parser.add_argument("--init", default="imagenet", help="imagenet, a file of weights, or none")
parser.add_argument("--iterations", type=int, default=2000)
parser.add_argument("--crop", type=int, default=321, help="rows and columns of a training sample")
arguments = parser.parse_args()

# A recipe describes the run. Everything that is left out is as in the paper.
recipe = arguments.output.with_suffix(".toml")
recipe.parent.mkdir(parents=True, exist_ok=True)
recipe.write_text(f"""\
name = "finetuned"
init = {json.dumps(arguments.init)}

[data]
dataset = "folder"
root = {json.dumps(str(arguments.folder))}

[augment]
crop_hw = [{arguments.crop}, {arguments.crop}]

[network]
name = "deeplabv2_efficientnet_lite0"
head = "aspp_s"

[preprocess]  # the values that the ImageNet weights were trained with
channel_order = "rgb"
mean = [127.0, 127.0, 127.0]
std = [128.0, 128.0, 128.0]

[optimizer]
iterations = {arguments.iterations}
batch_size = 4
accumulate = 1
""")
weights = atrous.train(recipe, output=arguments.output)

segmenter = atrous.Segmenter(weights)
val = atrous.load_dataset("folder", arguments.folder, split="val")
report = atrous.evaluate(segmenter, val)
for name, iou in zip(val.label_set.names, report.iou, strict=True):
    print(f"{name}: IoU {iou:.3f}")
print(f"mean IoU {report.miou:.3f} on {len(val)} images; the weights are {weights}")
