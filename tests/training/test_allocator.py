"""The allocator's settings take effect: freed blocks are reused, not faulted in again."""

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys
import torch
from atrous.training.allocator import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.ones(4_000_000).sum()  # warm-up: 16 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(4_000_000).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode):
    command = [sys.executable, "-c", COUNT_FAULTS, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_kept_memory_is_not_faulted_in_again():
    assert page_faults("keep") < page_faults("plain") / 10
