"""Write predictions in the formats of the PASCAL VOC and Cityscapes servers."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .atomic_file import open_atomically
from .data import PHOTO_LISTS, Photos, list_photos
from .data.street import LABEL_IDS
from .evaluation import check_classes
from .image_io import StrPath, write_image, write_labels
from .predict import Segmenter

Progress = Callable[[int, int], None]


def write_submission(
    segmenter: Segmenter,
    dataset: str,
    root: StrPath,
    folder: StrPath,
    *,
    split: str = "test",
    progress: Progress | None = None,
) -> Path:
    """Segment the images of a split and pack the results for the data set's server.

    * `voc2012`: palette PNGs FOLDER/results/VOC2012/Segmentation/comp6_SPLIT_cls/ID.png, packed as
      FOLDER/results.tgz. comp6 is the competition for methods trained on data other than VOC,
      which includes weights pretrained on ImageNet.
    * `cityscapes`: grey PNGs of labelIds (not trainIds), FOLDER/CITY_SEQUENCE_FRAME_pred.png,
      packed without folders as FOLDER/cityscapes_SPLIT.zip.

    Existing files are overwritten. The archive holds the files of this split only.

    Args:
        segmenter: Network and options; its classes must be those of the data set.
        dataset: `voc2012` or `cityscapes`.
        root: The folder with the unpacked archives of the data set.
        folder: Output folder; created if it does not exist.
        split: Name of the split; labels are not needed.
        progress: Called with (images done, number of images) after each image.

    Returns:
        Path of the archive.

    Raises:
        InputError: If there is no server for the data set, or classes or the split do not fit.
        FileNotFoundError: If a list or an image is missing.

    Source: VOC2012 development kit, section 5.3; cityscapesScripts,
    evalPixelLevelSemanticLabeling.py.
    """
    photos = list_photos(dataset, root, split=split)
    check_classes(segmenter, photos.label_set, photos.name)
    path_of, write, pack = SERVERS[dataset]
    files: dict[str, Path] = {}  # name inside the archive -> file
    for done, (name, path) in enumerate(photos.paths.items(), start=1):
        inside = path_of(name, split)
        files[inside] = Path(folder).expanduser() / inside
        files[inside].parent.mkdir(parents=True, exist_ok=True)
        write(files[inside], segmenter(path).labels, photos)
        if progress is not None:
            progress(done, len(photos.paths))
    return pack(Path(folder).expanduser(), split, files)


def _voc_path(name: str, split: str) -> str:
    return f"results/VOC2012/Segmentation/comp6_{split}_cls/{name}.png"


def _write_palette(path: Path, labels: NDArray[Any], photos: Photos) -> None:
    write_labels(path, labels, photos.label_set)


def _pack_tgz(folder: Path, split: str, files: Mapping[str, Path]) -> Path:
    archive = folder / "results.tgz"
    with open_atomically(archive) as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
        for inside, path in files.items():
            tar.add(path, inside)
    return archive


def _cityscapes_path(name: str, split: str) -> str:
    return f"{name}_pred.png"


def _write_label_ids(path: Path, labels: NDArray[Any], photos: Photos) -> None:
    write_image(path, Image.fromarray(np.array(LABEL_IDS, np.uint8)[labels]))


def _pack_zip(folder: Path, split: str, files: Mapping[str, Path]) -> Path:
    archive = folder / f"cityscapes_{split}.zip"
    # Stored, not deflated: PNG is compressed already.
    with open_atomically(archive) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
        for inside, path in files.items():
            packed.write(path, inside)
    return archive


# Data set -> (name inside the archive, writer of a label map, writer of the archive)
SERVERS = {
    "voc2012": (_voc_path, _write_palette, _pack_tgz),
    "cityscapes": (_cityscapes_path, _write_label_ids, _pack_zip),
}
assert SERVERS.keys() == PHOTO_LISTS.keys()
