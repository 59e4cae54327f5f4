"""Downloads against a real server on this machine that breaks off, lies, stalls and redirects."""

from __future__ import annotations

import hashlib
import http.server
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atrous.weights import download
from atrous.weights.download import cache_folder, cached_path, fetch, parse_url

CONTENT = bytes(i * i % 251 for i in range(700_000))
DIGEST = hashlib.sha256(CONTENT).hexdigest()

Handler = http.server.BaseHTTPRequestHandler
Answer = Callable[[Handler], None]


class Server:
    """A file at /net.bin; `answers` are used up one a request, the last stays."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [whole]
        self.ranges: list[str | None] = []
        outer = self

        class Scripted(Handler):
            def do_GET(self) -> None:  # noqa: N802
                outer.ranges.append(self.headers["Range"])
                answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
        self.url = f"http://127.0.0.1:{self.http.server_port}/net.bin"


def whole(handler: Handler) -> None:
    send(handler, 200, CONTENT)


def from_range(handler: Handler) -> None:
    start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
    total = len(CONTENT)
    send(handler, 206, CONTENT[start:], {"Content-Range": f"bytes {start}-{total - 1}/{total}"})


def cut_after(size: int) -> Answer:
    """Answer the range asked for, promise all of it, and hang up after `size` bytes."""

    def answer(handler: Handler) -> None:
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
        body = CONTENT[start : start + size]
        headers = {"Content-Length": str(len(CONTENT) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        send(handler, 206 if start else 200, body, headers)

    return answer


def status(code: int) -> Answer:
    return lambda handler: send(handler, code, b"")


def send(handler: Handler, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    handler.send_response(code)
    for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        handler.send_header(key, value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with server.http:
        thread = threading.Thread(target=server.http.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def partial_of(url: str, folder: Path) -> Path:
    path = cached_path(url, sha256=DIGEST, folder=folder)
    return path.with_name(path.name + ".partial")


def test_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    path = fetch(server.url, sha256=DIGEST, folder=tmp_path / "new" / "cache")
    assert path.read_bytes() == CONTENT
    assert fetch(server.url, sha256=DIGEST, folder=tmp_path / "new" / "cache") == path
    assert server.ranges == [None]
    assert not list(path.parent.glob("*.partial"))


def test_progress_is_reported(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    fetch(server.url, sha256=DIGEST, folder=tmp_path, progress=lambda *args: told.append(args))
    assert told == sorted(told)
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_broken_download_is_resumed(server: Server, tmp_path: Path) -> None:
    server.answers = [cut_after(300_000), cut_after(200_000), from_range]
    assert fetch(server.url, sha256=DIGEST, folder=tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_download_of_a_killed_process_is_resumed(server: Server, tmp_path: Path) -> None:
    partial_of(server.url, tmp_path).write_bytes(CONTENT[:123_456])
    server.answers = [from_range]
    assert fetch(server.url, sha256=DIGEST, folder=tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=123456-"]


def test_server_without_ranges_restarts_the_download(server: Server, tmp_path: Path) -> None:
    partial_of(server.url, tmp_path).write_bytes(CONTENT[:123_456])
    server.answers = [whole]
    assert fetch(server.url, sha256=DIGEST, folder=tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=123456-"]


def test_file_that_changed_meanwhile_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    partial_of(server.url, tmp_path).write_bytes(b"an older version" * 1000)
    server.answers = [from_range]
    assert fetch(server.url, sha256=DIGEST, folder=tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=16000-", None]


def test_complete_partial_file_needs_no_more_bytes(server: Server, tmp_path: Path) -> None:
    partial_of(server.url, tmp_path).write_bytes(CONTENT)
    server.answers = [status(416)]
    assert fetch(server.url, sha256=DIGEST, folder=tmp_path).read_bytes() == CONTENT


def test_overlong_partial_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    partial_of(server.url, tmp_path).write_bytes(CONTENT + b"more")
    server.answers = [status(416), whole]
    assert fetch(server.url, sha256=DIGEST, folder=tmp_path).read_bytes() == CONTENT


def test_wrong_range_restarts_the_download(server: Server, tmp_path: Path) -> None:
    def seven_on(handler: Handler) -> None:
        send(handler, 206, CONTENT[7:], {"Content-Range": "bytes 7-9/10"})

    partial_of(server.url, tmp_path).write_bytes(CONTENT[:1000])
    server.answers = [seven_on, whole]
    assert fetch(server.url, sha256=DIGEST, folder=tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_server_that_always_sends_wrong_ranges_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers = [lambda handler: send(handler, 206, b"x", {"Content-Range": "bytes 7-7/10"})]
    with pytest.raises(ConnectionError, match="range that was not asked for"):
        fetch(server.url, sha256=DIGEST, folder=tmp_path)


def test_wrong_bytes_are_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"SHA-256 is {DIGEST}, needed 0000"):
        fetch(server.url, sha256="0" * 64, folder=tmp_path)
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_server_that_always_breaks_off_keeps_the_received_bytes(
    server: Server, tmp_path: Path
) -> None:
    server.answers = [cut_after(100)]
    with pytest.raises(ConnectionError, match="the next attempt continues from there"):
        fetch(server.url, sha256=DIGEST, folder=tmp_path)
    assert len(server.ranges) == download.ATTEMPTS
    assert partial_of(server.url, tmp_path).read_bytes() == CONTENT[: 100 * download.ATTEMPTS]


@pytest.mark.parametrize("code", [403, 404, 500])
def test_refusal_says_status_and_where_to_put_the_file(
    server: Server, tmp_path: Path, code: int
) -> None:
    server.answers = [status(code)]
    with pytest.raises(ConnectionError, match=f"the server answers {code}") as caught:
        fetch(server.url, sha256=DIGEST, folder=tmp_path)
    assert len(server.ranges) == 1
    assert str(cached_path(server.url, sha256=DIGEST, folder=tmp_path)) in str(caught.value)
    assert DIGEST in str(caught.value)


def test_silent_server_is_given_up(server: Server, tmp_path: Path) -> None:
    server.answers = [lambda _: time.sleep(0.5)]
    with pytest.raises(ConnectionError, match="timed out"):
        fetch(server.url, sha256=DIGEST, folder=tmp_path, timeout_s=0.1)


def test_stalled_download_is_resumed(server: Server, tmp_path: Path) -> None:
    def stall(handler: Handler) -> None:
        send(handler, 200, CONTENT[:5000], {"Content-Length": str(len(CONTENT))})
        time.sleep(0.5)

    server.answers = [stall, from_range]
    path = fetch(server.url, sha256=DIGEST, folder=tmp_path, timeout_s=0.2)
    assert path.read_bytes() == CONTENT


def test_no_server_says_address_and_place(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/net.safetensors"
    with pytest.raises(
        ConnectionError, match=r"cannot download http.*refused.*put it at"
    ) as caught:
        fetch(url, sha256=DIGEST, folder=tmp_path)
    assert str(cached_path(url, sha256=DIGEST, folder=tmp_path)) in str(caught.value)


def test_file_put_there_by_hand_is_taken(tmp_path: Path) -> None:
    url = "https://example.org/net.bin"
    path = cached_path(url, sha256=DIGEST, folder=tmp_path)
    path.write_bytes(CONTENT)
    assert fetch(url, sha256=DIGEST, folder=tmp_path) == path


def test_wrong_file_put_there_by_hand_is_refused(tmp_path: Path) -> None:
    url = "https://example.org/net.bin"
    cached_path(url, sha256=DIGEST, folder=tmp_path).write_bytes(b"wrong")
    with pytest.raises(ValueError, match="delete it to download"):
        fetch(url, sha256=DIGEST, folder=tmp_path)


def test_concurrent_requests_download_once(server: Server, tmp_path: Path) -> None:
    def slow(handler: Handler) -> None:
        time.sleep(0.2)
        whole(handler)

    server.answers = [slow]
    found: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(
                fetch(server.url, sha256=DIGEST, folder=tmp_path).read_bytes()
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 4
    assert len(server.ranges) == 1


def test_redirect_on_this_machine_is_followed(server: Server, tmp_path: Path) -> None:
    server.answers = [lambda handler: send(handler, 302, b"", {"Location": "/moved.bin"}), whole]
    assert fetch(server.url, sha256=DIGEST, folder=tmp_path).read_bytes() == CONTENT


def test_redirect_to_plain_http_elsewhere_is_refused(server: Server, tmp_path: Path) -> None:
    elsewhere = {"Location": "http://example.org/net.bin"}
    server.answers = [lambda handler: send(handler, 302, b"", elsewhere)]
    with pytest.raises(ValueError, match=r"http://example.org/net.bin is not an https URL"):
        fetch(server.url, sha256=DIGEST, folder=tmp_path)


@pytest.mark.parametrize(
    "url",
    ["http://example.org/a", "file:///etc/passwd", "ftp://localhost/a", "https:///a", "a.bin"],
)
def test_other_addresses_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not an https URL"):
        fetch(url, sha256=DIGEST, folder=tmp_path)


def test_cached_name_stays_in_the_folder_and_tells_versions_apart(tmp_path: Path) -> None:
    def place(url: str, digest: str) -> Path:
        return cached_path(url, sha256=digest, folder=tmp_path)

    assert place("https://a.org/x/net.safetensors", "ab" * 32).name == "net-abababab.safetensors"
    assert place("https://a.org/net.safetensors", "cd" * 32).name == "net-cdcdcdcd.safetensors"
    for url in (
        "https://a.org/%2e%2e%2fup.bin",
        "https://a.org/..",
        "https://a.org/",
        "https://a.org",
    ):
        assert place(url, "ab" * 32).parent == tmp_path
        assert not place(url, "ab" * 32).name.startswith(".")


@pytest.mark.parametrize(
    "address",
    [
        "https://a.org/n",
        "https://a.org/n#sha256=12",
        f"https://a.org/n#{DIGEST}",
        "https://a.org/n#",
    ],
)
def test_address_without_digest_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="has no SHA-256 to check the download with"):
        parse_url(address)


def test_address_is_split() -> None:
    parted = parse_url(f"https://a.org/n#sha256={DIGEST.upper()}")
    assert parted == ("https://a.org/n", DIGEST)


def test_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    assert cache_folder({"ATROUS_CACHE": str(tmp_path)}) == tmp_path
    assert cache_folder({"ATROUS_CACHE": "~/x"}) == Path.home() / "x"
    assert "atrous" in cache_folder({}).parts


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/c"}, Path("/c/atrous")),
        ("linux", {}, Path.home() / ".cache" / "atrous"),
        ("darwin", {}, Path.home() / "Library" / "Caches" / "atrous"),
        ("win32", {"LOCALAPPDATA": "/local"}, Path("/local/atrous/cache")),
    ],
)
def test_cache_follows_the_platform(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], expected: Path
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folder(environment) == expected


def test_terminal_shows_a_bar(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fetch(server.url, sha256=DIGEST, folder=tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch(server.url, sha256=DIGEST, folder=tmp_path / "loud")
    assert "downloading net-efe99290.bin" in capsys.readouterr().err
