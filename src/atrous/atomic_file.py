"""The one way to write a file: whole, or not at all.

Content goes to a temporary file in the same folder, which is then renamed. A crash, a full disk or
an interrupt leaves the old file, or none.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# Temporary files are hidden and end in this; `remove_partial_files` finds what a kill left.
PARTIAL_SUFFIX = ".partial"


@contextmanager
def replacing(path: Path, *, is_durable: bool = True) -> Generator[Path]:
    """Give the path of a temporary file that replaces `path` when the block ends without an error.

    For writers that take a path; `open_atomically` is for all others.

    Args:
        path: The file to write; its folder must exist.
        is_durable: Sync file and folder, so that the new file survives a power cut. Turn it off for
            results that can be made again: for a small file the sync takes most of the time.

    Yields:
        A path that does not exist yet, in the same folder.

    Raises:
        FileNotFoundError: If the folder does not exist.
        OSError: If the file cannot be written; names `path`. An older file stays as it was.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder; create it first")
    temporary = path.with_name(f".{secrets.token_hex(8)}{PARTIAL_SUFFIX}")
    try:
        yield temporary
        if is_durable:
            _sync(temporary)
        os.replace(temporary, path)
        if is_durable and os.name == "posix":  # Windows cannot open a folder
            _sync(path.parent)
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) != os.fspath(temporary):
            raise  # about another file that the block reads
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"could not be written ({reason})", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_atomically(path: Path, *, is_durable: bool = True) -> Generator[IO[bytes]]:
    """Open a temporary file that replaces `path` when the block ends without an error.

    Args, errors: as `replacing`.

    Yields:
        The file, open for writing bytes.
    """
    with replacing(path, is_durable=is_durable) as temporary, temporary.open("wb") as file:
        yield file


def write_bytes(path: Path, content: bytes, *, is_durable: bool = True) -> None:
    """Write a file; arguments and errors as `replacing`."""
    with open_atomically(path, is_durable=is_durable) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file; errors as `replacing`."""
    write_bytes(path, text.encode("utf-8"))


def remove_partial_files(folder: Path) -> None:
    """Remove the temporary files that a killed process left in a folder."""
    for path in folder.glob(f".*{PARTIAL_SUFFIX}"):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Write a file or folder to the disk, so that it survives a power cut."""
    # Windows syncs only handles that can write; a folder can be opened only for reading.
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
