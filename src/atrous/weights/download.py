"""Verified, resumable downloads into a cache.

Only https is allowed, and http to the local machine. A file is used only if it has the expected
SHA-256.
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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..errors import InputError, WeightsError
from ..progress import ProgressBar

TIMEOUT_S = 30.0
ATTEMPTS = 5
CHUNK_BYTES = 1 << 18
SHA256 = re.compile(r"[0-9a-f]{64}")

# Called with the bytes received so far and in total (None if the server does not say).
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


def parse_url(address: str) -> tuple[str, str]:
    """Split `https://…/net.safetensors#sha256=HEX` into the URL and the digest.

    Raises:
        InputError: If the digest is missing or not 64 hexadecimal digits.
    """
    url, _, fragment = address.partition("#")
    digest = fragment.removeprefix("sha256=").lower()
    if not fragment.startswith("sha256=") or not SHA256.fullmatch(digest):
        raise InputError(
            f"{address} has no SHA-256 to check the download with; append #sha256= and the 64 "
            "hexadecimal digits that the publisher gives"
        )
    return url, digest


def cached_path(url: str, *, sha256: str, folder: Path | None = None) -> Path:
    """Return the path of a URL's file in the cache; its name contains part of the digest."""
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
    """Return the path of a file in the cache, downloading it first if it is missing.

    An interrupted download is resumed, in this call and in later ones. If several processes ask
    for the same file, one downloads it and the others wait.

    Args:
        url: https URL; http is allowed for the local machine only.
        sha256: Expected digest, 64 lower-case hexadecimal digits.
        folder: The cache; None for `cache_folder()`.
        timeout_s: Longest time without data from the server.
        progress: Called after each chunk; None shows a progress bar.

    Raises:
        InputError: If the URL is not allowed.
        WeightsError: If the file does not have the expected digest.
        ConnectionError: If the server cannot be reached, refuses, or keeps breaking the connection;
            says where to put the file by hand.
        OSError: If the cache cannot be written.
    """
    check_url(url)
    target = cached_path(url, sha256=sha256, folder=folder)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():  # another process may have downloaded it meanwhile
                with ProgressBar(
                    label=f"downloading {target.name}", unit="bytes", is_quiet=progress is not None
                ) as bar:
                    report = progress or bar.update
                    _download(url, target, sha256=sha256, timeout_s=timeout_s, progress=report)
                return target
    found = file_sha256(target)
    if found != sha256:
        raise WeightsError(
            f"{target} has the SHA-256 {found}, needed {sha256}; delete it to download {url} again"
        )
    return target


def check_url(url: str) -> None:
    """Allow only https, and http to the local machine.

    Raises:
        InputError: If the URL is of another kind.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    raise InputError(f"{url} is not an https URL; only https is allowed")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects to URLs that `check_url` refuses."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(url: str, target: Path, *, sha256: str, timeout_s: float, progress: Progress) -> None:
    partial = target.with_name(target.name + ".partial")
    reason = ""
    for _ in range(ATTEMPTS):
        size_before = _size(partial)
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
            if _size(partial) == size_before:
                break
            continue
        found = file_sha256(partial)
        if found == sha256:
            os.replace(partial, target)
            return
        partial.unlink()
        if not size_before:
            raise WeightsError(
                f"{url} is not the expected file: its SHA-256 is {found}, needed {sha256}; nothing "
                "was kept. The publisher may have replaced it, or a proxy may have changed it"
            )
        # The kept bytes were damaged or of an older version of the file: download it from scratch.
    raise ConnectionError(_failure(url, target, reason, sha256=sha256, kept=_size(partial)))


def _receive(url: str, partial: Path, *, timeout_s: float, progress: Progress) -> None:
    """Append the missing bytes to the partial file; start over if the server cannot resume."""
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
            return  # complete, or the file has changed on the server: the digest decides
        raise
    with response:
        is_partial = response.status == http.HTTPStatus.PARTIAL_CONTENT
        if is_partial and not response.headers.get("Content-Range", "").startswith(
            f"bytes {done}-"
        ):
            partial.unlink(missing_ok=True)  # so that the next attempt asks for the whole file
            raise http.client.HTTPException("the server sent a range that was not asked for")
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
    resume = f" {kept} bytes are kept; the next attempt continues from there." if kept else ""
    return (
        f"cannot download {url}: {reason}.{resume} Without a network, fetch the file elsewhere "
        f"(SHA-256 {sha256}) and put it at {target}"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
