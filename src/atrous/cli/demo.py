"""`atrous demo`: the photo in the package through the whole river, offline."""

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
    help="Folder for the pictures.",
)
def command(output: Path) -> None:
    """Segment the photo that comes with the package; needs no network."""
    from ..image_io import write_image
    from ..predict import Segmenter
    from ..visualize import compare

    output.mkdir(parents=True, exist_ok=True)
    segmenter = Segmenter(WEIGHTS, crf=False)
    result = segmenter(PHOTO)
    refined = segmenter.with_options(crf=True)(PHOTO)
    label_maps = {"labels of the network": result.labels, "with the dense CRF": refined.labels}
    pictures = {
        "demo.png": compare(result.image, label_maps, result.label_set),
        "overlay.png": refined.overlay(),
    }
    for name, picture in pictures.items():
        write_image(output / name, picture)
    refined.save(output / "labels.png")
    _tell(segmenter, refined, output)


def _tell(segmenter: Segmenter, result: Segmentation, output: Path) -> None:
    from ..visualize import class_name, class_shares, percent

    entry, (height, width) = segmenter.entry, result.labels.shape
    seen = [
        f"{class_name(index, result.label_set)} {percent(share)}"
        for index, share in class_shares(result.labels)
    ]
    hops = {hop: seconds for hop, seconds in result.timings.items() if hop != "total"}
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
            "on" if entry.use_crf else f"on (off by default for {entry.name}; see --crf)",
        ),
        ("found", ", ".join(seen)),
        ("time", f"{result.timings['total']:.2f} s"),
        *(("", f"{seconds:7.3f} s  {hop}") for hop, seconds in hops.items()),
        ("pictures", f"{output / 'demo.png'}     photo and labels side by side"),
        ("", f"{output / 'overlay.png'}  labels over the photo, with a legend"),
        ("", f"{output / 'labels.png'}   one class index a pixel, as palette PNG"),
        ("next", "atrous segment YOUR_PHOTO.jpg -o labels"),
        ("", "atrous segment --help; atrous weights"),
    ]
    for head, text in lines:
        if text:
            click.echo(f"{head:<10} {text}")
