"""`atrous demo`: the sample photo of the package through the whole pipeline, offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..predict import Segmentation, Segmenter

PHOTO = Path(__file__).resolve().parents[1] / "demo" / "china.jpg"
CREDIT = "by danielbuechele, flickr.com/photos/danielbuechele/6061409035, CC BY 2.0"
WEIGHTS = "street-lite"


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("atrous-demo"),
    show_default=True,
    help="Folder for the results.",
)
def command(output: Path) -> None:
    """Segment the sample photo in the package; needs no internet connection."""
    from ..image_io import write_image
    from ..predict import Segmenter
    from ..visualize import compare

    output.mkdir(parents=True, exist_ok=True)
    segmenter = Segmenter(WEIGHTS, crf=False)
    result = segmenter(PHOTO)
    refined = segmenter.with_options(crf=True)(PHOTO)
    label_maps = {"labels of the network": result.labels, "with the dense CRF": refined.labels}
    images = {
        "demo.png": compare(result.image, label_maps, result.label_set),
        "overlay.png": refined.overlay(),
    }
    for name, image in images.items():
        write_image(output / name, image)
    refined.save(output / "labels.png")
    _report(segmenter, refined, output)


def _report(segmenter: Segmenter, result: Segmentation, output: Path) -> None:
    from ..visualize import class_name, class_shares, percent

    entry, (height, width) = segmenter.entry, result.labels.shape
    seen = [
        f"{class_name(index, result.label_set)} {percent(share)}"
        for index, share in class_shares(result.labels)
    ]
    steps = {step: seconds for step, seconds in result.timings.items() if step != "total"}
    score = [
        f", mIoU {m['miou']:.3f} on {name}" for name, m in entry.metrics.items() if "miou" in m
    ]
    lines = [
        ("photo", f"{PHOTO.name}, {width}x{height}, {CREDIT}"),
        ("network", f"{entry.options['name']}, {segmenter.model.num_classes} classes"),
        ("weights", f"{entry.name}{''.join(score[:1])}; licence: {entry.licence}"),
        ("notice", entry.notice),
        (
            "dense CRF",
            "on" if entry.use_crf else f"on (off by default for {entry.name}; --crf turns it on)",
        ),
        ("found", ", ".join(seen)),
        ("time", f"{result.timings['total']:.2f} s"),
        *(("", f"{seconds:7.3f} s  {step}") for step, seconds in steps.items()),
        ("results", f"{output / 'demo.png'}     image and labels side by side"),
        ("", f"{output / 'overlay.png'}  labels over the image, with a legend"),
        ("", f"{output / 'labels.png'}   class indices, as palette PNG"),
        ("next", "atrous segment YOUR_IMAGE.jpg -o labels"),
        ("", "atrous segment --help; atrous weights"),
    ]
    for head, text in lines:
        if text:
            click.echo(f"{head:<10} {text}")
