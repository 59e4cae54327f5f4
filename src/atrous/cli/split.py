"""`atrous split`: write the lists of train and val for a folder of images and masks."""

from __future__ import annotations

from pathlib import Path

import click

from ..progress import ProgressBar
from .options import PATH


@click.command()
@click.argument("folder", type=PATH)
@click.option("--val", default=0.2, show_default=True, help="Share of the images for val.")
@click.option("--test", default=0.0, show_default=True, help="Share of the images for test.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random choice.")
@click.option("--overwrite", is_flag=True, help="Replace existing lists.")
def command(folder: Path, val: float, test: float, seed: int, overwrite: bool) -> None:
    """Divide the images and masks in FOLDER into train, val and test.

    Writes FOLDER/splits/train.txt, val.txt and, with --test, test.txt. Near-duplicate images are in
    the same split, and every class has its share in each. The same files and seed give the same
    lists.
    """
    from ..data import split_folder

    with ProgressBar() as bar:
        lists = split_folder(
            folder, val=val, test=test, seed=seed, overwrite=overwrite, progress=bar.update
        )
    for split, names in lists.names.items():
        click.echo(f"{lists.files[split]}: {len(names)} image(s)")
    if lists.num_grouped:
        click.echo(f"{lists.num_grouped} image(s) have near-duplicates, which are in one split")
    if lists.unlabelled:
        first = lists.unlabelled[0]
        click.echo(f"{len(lists.unlabelled)} image(s) have no mask and are left out, first {first}")
