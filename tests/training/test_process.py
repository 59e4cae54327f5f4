"""The allocator's settings take effect: freed blocks are reused, not faulted in again."""

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys
import torch
from atrous.training.process import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
faults = []
for _ in range(12):  # 64 MB: glibc unmaps what is over 32 MB, whatever it learns on the way
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16_000_000).sum()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(faults)[6])
"""


def page_faults(mode):
    command = [sys.executable, "-c", COUNT_FAULTS, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_kept_memory_is_not_faulted_in_again():
    assert page_faults("keep") < page_faults("plain") / 10
