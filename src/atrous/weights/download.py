"""Downloads that are verified, resumed where they broke, and kept in a cache.

Only https is spoken, and http to this very machine. What arrives is used only if its sha256 is the
one that was asked for.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..errors import WeightsError

TIMEOUT_S = 30.0
ATTEMPTS = 5
CHUNK_BYTES = 1 << 18
SHA256 = re.compile(r"[0-9a-f]{64}")

# Bytes that are here, and bytes that there will be (None where the server does not say).
Progress = Callable[[int, int | None], None]


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for downloads: $ATROUS_CACHE, or `atrous` in the user's cache folder."""
    if environment.get("ATROUS_CACHE"):
        return Path(environment["ATROUS_CACHE"]).expanduser()
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or Path.home()) / "atrous" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "atrous"
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "atrous"


def parse_address(address: str) -> tuple[str, str]:
    """Part `https://…/net.safetensors#sha256=HEX` into the URL and the digest.

    Raises:
        WeightsError: If the digest is missing or not 64 hexadecimal digits.
    """
    url, _, fragment = address.partition("#")
    digest = fragment.removeprefix("sha256=").lower()
    if not fragment.startswith("sha256=") or not SHA256.fullmatch(digest):
        raise WeightsError(
            f"{address} does not say which bytes to expect; append #sha256= and the file's 64 "
            "hexadecimal digits, as its publisher gives them"
        )
    return url, digest


def cached_path(url: str, *, sha256: str, folder: Path | None = None) -> Path:
    """Return where the file is kept; the digest in its name keeps versions apart."""
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    name = re.sub(r"[^\w.\-]", "_", name).lstrip(".") or "download"
    stem, dot, suffix = name.rpartition(".")
    tagged = f"{stem}-{sha256[:8]}.{suffix}" if dot else f"{name}-{sha256[:8]}"
    return (folder or cache_folder()) / tagged


def fetch(
    url: str,
    *,
    sha256: str,
    folder: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    progress: Progress | None = None,
) -> Path:
    """Return the file's path in the cache, downloading it if it is not there yet.

    A broken download goes on where it stopped, in this call and in later ones. Several processes
    may ask for the same file: one downloads, the others wait.

    Args:
        url: https address; http is taken for this machine alone.
        sha256: 64 lower-case hexadecimal digits that the file must have.
        folder: The cache; `cache_folder()` if left out.
        timeout_s: Longest silence of the server.
        progress: Told of every chunk; a bar on the terminal if left out.

    Raises:
        WeightsError: If the address is not allowed, or the bytes are not the expected ones.
        ConnectionError: If the server cannot be reached, refuses, or breaks off again and again;
            says where to put the file by hand.
        OSError: If the cache cannot be written.
    """
    check_address(url)
    target = cached_path(url, sha256=sha256, folder=folder)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():  # another process may have brought it while this one waited
                with _bar(target.name) if progress is None else nullcontext(progress) as report:
                    _download(url, target, sha256=sha256, timeout_s=timeout_s, progress=report)
                return target
    found = file_sha256(target)
    if found != sha256:
        raise WeightsError(
            f"{target} has the sha256 {found}, needed {sha256}; delete it to download {url} again"
        )
    return target


def check_address(url: str) -> None:
    """Refuse everything but https, and http to this machine.

    Raises:
        WeightsError: If the address is of another kind.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    raise WeightsError(f"{url} is not an https address; nothing else is downloaded")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect may not lead from https to anything less."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(url: str, target: Path, *, sha256: str, timeout_s: float, progress: Progress) -> None:
    partial = target.with_name(target.name + ".partial")
    reason = ""
    for _ in range(ATTEMPTS):
        before = _size(partial)
        try:
            _receive(url, partial, timeout_s=timeout_s, progress=progress)
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            break
        except (
            urllib.error.URLError,
            TimeoutError,
            ConnectionError,
            http.client.HTTPException,
        ) as e:
            reason = str(getattr(e, "reason", "") or e) or type(e).__name__
            if _size(partial) == before:
                break
            continue
        found = file_sha256(partial)
        if found == sha256:
            os.replace(partial, target)
            return
        partial.unlink()
        if not before:
            raise WeightsError(
                f"{url} holds other bytes than expected: its sha256 is {found}, needed {sha256}; "
                "nothing was kept. Its publisher has replaced it, or something stands in between"
            )
        # The first bytes were of an older version of the file, or damaged: again, from the start.
    raise ConnectionError(_failure(url, target, reason, sha256=sha256, kept=_size(partial)))


def _receive(url: str, partial: Path, *, timeout_s: float, progress: Progress) -> None:
    """Append to the partial file what it lacks, or write it anew where the server cannot resume."""
    done = _size(partial)
    headers = {"User-Agent": "atrous", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    opener = urllib.request.build_opener(_CheckedRedirects)
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            error.close()
            return  # nothing is missing, or the file is another one now: the digest tells
        raise
    with response:
        is_partial = response.status == http.HTTPStatus.PARTIAL_CONTENT
        if is_partial and not response.headers.get("Content-Range", "").startswith(
            f"bytes {done}-"
        ):
            partial.unlink(missing_ok=True)  # so that the next try asks for the whole file
            raise http.client.HTTPException("the server sends another range than asked for")
        done = done if is_partial else 0
        length = response.headers.get("Content-Length", "")
        total = done + int(length) if length.isdigit() else None
        with partial.open("ab" if is_partial else "wb") as file:
            while chunk := response.read1(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and done < total:
        raise http.client.HTTPException(f"the connection ended after {done} of {total} bytes")


def _failure(url: str, target: Path, reason: str, *, sha256: str, kept: int) -> str:
    resume = f" {kept} bytes are kept; the next try goes on from there." if kept else ""
    return (
        f"cannot download {url}: {reason}.{resume} Without a network, fetch the file elsewhere "
        f"(sha256 {sha256}) and put it at {target}"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@contextmanager
def _bar(name: str) -> Generator[Progress, None, None]:
    """Show a progress bar on the terminal; silent where the error stream is none."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        "{task.description}",
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"downloading {name}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
