"""Memory that is released between blocks in use goes back to the system."""

import ctypes
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from sims.engine.allocator import return_released_memory

BLOCK = 1 << 16  # small enough that the allocator takes it from its heap


def resident():
    """Bytes of memory that this process has."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of the process")
def test_gaps_between_blocks_in_use_are_returned():
    blocks = [np.ones(BLOCK // 8) for _ in range(1600)]
    whole = sum(block.nbytes for block in blocks)
    held = blocks[::16]
    blocks.clear()
    before = resident()
    return_released_memory()
    assert before - resident() > whole // 2
    assert all((block == 1).all() for block in held)
