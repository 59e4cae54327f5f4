"""`load_model`: names, paths and addresses become networks ready to predict."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from atrous.models import DeepLab
from atrous.weights import Entry, catalog, load_model, save_weights

MakeModel = Callable[..., DeepLab]
MakeEntry = Callable[..., Entry]


@pytest.fixture
def saved(tmp_path: Path, make_model: MakeModel, make_entry: MakeEntry) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_weights(path, make_model().state_dict(), make_entry())
    return path


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(
    saved: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Serve the folder of `saved` on this machine; downloads go to a folder of their own."""
    monkeypatch.setenv("ATROUS_CACHE", str(tmp_path_factory.mktemp("cache")))
    handler = partial(QuietHandler, directory=str(saved.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{saved.name}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", [str, Path])
def test_path_gives_the_saved_network(
    saved: Path, make_model: MakeModel, make_entry: MakeEntry, image: Tensor, kind: type
) -> None:
    model, entry = load_model(kind(saved))
    assert entry == make_entry()
    assert not model.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    assert all(value.device.type == "cpu" for value in model.state_dict().values())
    with torch.no_grad():
        assert torch.equal(model(image), make_model()(image))


def test_name_gives_the_network_in_the_package(
    saved: Path, monkeypatch: pytest.MonkeyPatch, make_model: MakeModel, image: Tensor
) -> None:
    monkeypatch.setattr(catalog, "BUNDLED", saved.parent)
    model, entry = load_model("tiny")
    assert entry.name == "tiny"
    with torch.no_grad():
        assert torch.equal(model(image), make_model()(image))


def test_loaded_network_trains(saved: Path, image: Tensor) -> None:
    model, _ = load_model(saved)
    model.train()(image).mean().backward()
    assert model.backbone.stem.weight.grad is not None


def test_address_is_downloaded_once(
    saved: Path, address: str, make_model: MakeModel, image: Tensor
) -> None:
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    load_model(f"{address}#sha256={digest}")
    saved.unlink()
    model, _ = load_model(f"{address}#sha256={digest.upper()}")
    with torch.no_grad():
        assert torch.equal(model(image), make_model()(image))


def test_catalogued_name_is_downloaded(
    saved: Path, address: str, monkeypatch: pytest.MonkeyPatch, make_entry: MakeEntry
) -> None:
    content = saved.read_bytes()
    published = dataclasses.replace(
        make_entry(name="far"),
        url=address,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )
    monkeypatch.setattr(catalog, "CATALOGUED", (published,))
    _, entry = load_model("far")
    assert (entry.url, entry.size_bytes) == (address, len(content))


def test_address_without_digest_is_refused() -> None:
    with pytest.raises(ValueError, match="append #sha256="):
        load_model("https://example.org/net.safetensors")


def test_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no weights are called 'streetlite'"):
        load_model("streetlite")


def test_missing_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone.safetensors does not exist"):
        load_model(tmp_path / "gone.safetensors")
    with pytest.raises(FileNotFoundError, match=r"gone.pth does not exist"):
        load_model(str(tmp_path / "gone.pth"))


@pytest.mark.parametrize("name", ["net.pth", "net.caffemodel"])
def test_foreign_file_is_sent_to_convert(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"anything")
    with pytest.raises(ValueError, match=r"first run: atrous convert .* -o net.safetensors"):
        load_model(path)


def test_wrong_class_count_is_one_clear_error(
    tmp_path: Path, make_model: MakeModel, make_entry: MakeEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "odd.safetensors"
    monkeypatch.setattr("atrous.weights.checkpoint.check_state", lambda *_, **__: None)
    save_weights(path, make_model(num_classes=21).state_dict(), make_entry())
    with pytest.raises(
        ValueError, match=r"odd.safetensors does not fit .* with 3 classes: 2 of wr"
    ):
        load_model(path)
