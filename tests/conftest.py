"""Shared by all tests: one thread per process, no network, opt-in markers, a sample image."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
OPT_IN = ("slow", "gpu", "weights")

if "PYTEST_XDIST_WORKER" in os.environ:
    # One process per core. torch reads this when it is imported, here and in programs that tests
    # start, so nothing above may import torch: two threads per process double the CPU time.
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # The type checker is the longest test: first, so that nobody waits for it in the end.
    items.sort(key=lambda item: item.path.name != "test_style.py")
    if config.option.markexpr:
        return
    for item in items:
        for marker in OPT_IN:
            if item.get_closest_marker(marker):
                reason = f"{marker} tests are opt-in: pytest -m {marker}"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def load_oracle() -> Callable[[str], ModuleType]:
    """Import a file of tests/oracles: what a test compares with, computed another way."""

    def load(name: str) -> ModuleType:
        path = ROOT / "tests" / "oracles" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def bilinear(load_oracle: Callable[[str], ModuleType]) -> ModuleType:
    return load_oracle("bilinear")


@pytest.fixture(scope="module")
def narrow_resnet18() -> Iterator[None]:
    """Build ResNet-18 with an eighth of its channels."""
    from .narrow import narrow_network  # imports torch

    with narrow_network():
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_network() -> Iterator[None]:
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def connect_to_loopback(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            raise PermissionError(
                f"a test tried to connect to {address[0]}; only loopback is allowed"
            )
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_to_loopback)
        yield


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def loaded_modules() -> Callable[[str], set[str]]:
    """Run code in a new interpreter and name the modules that it has loaded in the end."""

    def run(code: str) -> set[str]:
        code += "\nimport sys\nprint('\\n'.join(sys.modules))"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    return run
