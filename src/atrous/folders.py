"""Folders of inputs and results, as commands over many files need them."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

from .errors import InputError

RESULT_SUFFIXES = (".png", ".jpg", ".jpeg", ".npz", ".npy")


def list_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """List the files directly in a folder that have one of these lower-case suffixes.

    Hidden files are left out.
    """
    return [
        file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in suffixes and file.name[0] != "." and file.is_file()
    ]


def check_output_folder(output: Path, inputs: Collection[Path], *, what: str) -> None:
    """Refuse a folder for results that is a file, or that holds the inputs.

    Args:
        output: The folder for results; it need not exist.
        inputs: The folders of the inputs.
        what: What the inputs are, for the message.

    Raises:
        InputError: If results cannot or must not go there.
    """
    if output.is_dir():
        if output.resolve() in {folder.resolve() for folder in inputs}:
            raise InputError(
                f"{output} holds the {what}; results written there could replace inputs or be "
                f"read as inputs next time; choose another folder, such as {output / 'labels'}"
            )
    elif output.exists():
        raise InputError(f"{output} is a file; the output must be a folder")
    elif output.suffix.lower() in RESULT_SUFFIXES:
        raise InputError(f"{output} looks like a file name; the output must be a folder")


def create_output_folder(output: Path) -> None:
    """Create the folder for results, and fail now if no file can be written there.

    Raises:
        OSError: If the folder cannot be created or written to.
    """
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=output):
        pass
