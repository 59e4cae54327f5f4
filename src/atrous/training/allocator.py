"""Keep glibc from handing every freed activation back to the kernel."""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt(3), from malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to reuse large blocks instead of unmapping and faulting them in again.

    A CPU training step frees and takes the same hundreds of megabytes each time; page faults took a
    third of it. The process then stays at its peak size, which is why inference does not do this.

    Returns:
        Whether it took effect; False where the C library is not glibc.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has none
        return False
    settings = (
        (M_ARENA_MAX, 1),
        (M_MMAP_MAX, 0),
        (M_TRIM_THRESHOLD, 2**31 - 1),
        (M_TOP_PAD, 2**27),
    )
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
