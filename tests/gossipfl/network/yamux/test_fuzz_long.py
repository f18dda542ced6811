"""Millions of hostile Yamux frames, in a state that valid ones have made interesting."""

import os
import random

import psutil
import pytest

from gossipfl.errors import MessageRefused
from gossipfl.network.yamux.headers import DATA, INITIAL_WINDOW, SYN, WINDOW_UPDATE, frame_header
from tests.gossipfl.fuzzing import MOST_GROWTH

from .test_multiplexer import Wire

FRAMES = int(os.environ.get("GOSSIPFL_FUZZ_FRAMES", "2_000_000"))


def hostile_frame(dice):
    """Mostly valid frames, so that connections live on to meet the others."""
    kind = dice.choice((0, 0, 0, 1, 1, 2, 3, 4)) if dice.random() < 0.98 else dice.randrange(256)
    flags = dice.choice((0, 0, 0, 1, 2, 4, 8)) if dice.random() < 0.95 else dice.randrange(2**16)
    stream = dice.choice((0, 1, 1, 3, 3, 5, 7, 2)) if dice.random() < 0.98 else dice.getrandbits(32)
    if kind == DATA:
        length = (
            dice.randint(0, 500) if dice.random() < 0.97 else dice.choice((INITIAL_WINDOW + 1, 2**32 - 1))
        )
        return frame_header(kind, flags, stream, length) + bytes(min(length, 1_000))
    length = dice.choice((0, 1, 1_000, INITIAL_WINDOW)) if dice.random() < 0.98 else dice.getrandbits(32)
    version = b"" if dice.random() < 0.999 else dice.randbytes(1)
    header = frame_header(kind, flags, stream, length)
    return version + header[len(version) :]


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_millions_of_hostile_frames_are_taken_or_refused_by_name():
    dice, process = random.Random(11), psutil.Process()
    fed = connections = 0
    while fed < FRAMES:
        wire = Wire()
        victim = wire.ends[1]
        victim.receive(memoryview(frame_header(WINDOW_UPDATE, SYN, 1, 0)))
        connections += 1
        try:
            for _ in range(5_000):
                victim.receive(memoryview(hostile_frame(dice)))
                fed += 1
                if dice.random() < 0.2:
                    victim.outgoing.next_batch(100_000)
                    if wire.accepted and dice.random() < 0.3:
                        wire.accepted.pop(dice.randrange(len(wire.accepted))).reset()
        except MessageRefused:
            continue
        finally:
            held = sum(len(stream.buffered) for stream in victim.streams.values())
            assert held <= 4 * INITIAL_WINDOW
            assert len(victim.streams) <= 4
            if connections == 100:
                before = process.memory_info().rss
    assert connections > 1_000
    growth = process.memory_info().rss - before
    print(f"{fed:,} frames on {connections:,} connections, {growth / 1e6:+.1f} MB")
    assert growth < MOST_GROWTH
