"""Tests of finding where randomness comes from."""

import cProfile
import sys
import time

from gossipfl.randomness import clocks_read


def test_a_profiler_that_is_at_work_stays_at_work():
    """It cannot be put back, so its place is not taken."""
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        with clocks_read() as found:
            time.time()
        assert sys.getprofile() is profiler
    finally:
        profiler.disable()
    assert not found
    with clocks_read() as found:
        time.time()
    assert found == {"time.time"}
