"""How many threads the CRF starts: one per core, but a single one in a worker process."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from atrous_crf import kernel

EIGHT_CORES = "from atrous_crf import kernel; kernel.max_threads = lambda: 8"


def test_all_threads_are_used_unless_a_number_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "max_threads", lambda: 8)
    assert kernel.choose_threads(None) == 8
    assert kernel.choose_threads(3) == 3
    monkeypatch.setattr(kernel, "max_threads", lambda: 5000)
    assert kernel.choose_threads(None) == kernel.MOST_THREADS


def test_a_worker_process_uses_one_thread_unless_a_number_is_given() -> None:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=exec, initargs=(EIGHT_CORES,)) as pool:
        assert pool.submit(kernel.choose_threads, None).result() == 1
        assert pool.submit(kernel.choose_threads, 3).result() == 3
