"""Test processes that run side by side use one thread each."""

from __future__ import annotations

import os

import pytest
import torch


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="runs with -n, not alone")
def test_parallel_test_processes_use_one_thread_each() -> None:
    assert torch.get_num_threads() == 1
