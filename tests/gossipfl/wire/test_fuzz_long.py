"""Millions of mutated frames through the reader that every peer runs."""

import os
import random

import msgpack
import pytest
import torch

from gossipfl.errors import MessageRefused
from gossipfl.wire import ModelMessage
from tests.gossipfl.fuzzing import ODD_VALUES, many
from tests.gossipfl.wire.frames import decoded, expectation, sealed
from tests.gossipfl.wire.test_fuzz import HONEST, SIZE, VALID

FRAMES = int(os.environ.get("GOSSIPFL_FUZZ_FRAMES", "2_000_000"))
PACKED = [each for each in ODD_VALUES if each not in (10**400, "\ud800")]  # msgpack has no others


def damaged(dice, frame):
    """The frame with some bytes changed, cut out, inserted or repeated."""
    frame = bytearray(frame)
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(frame) + 1)
        end = min(len(frame), start + dice.randint(0, 8))
        match dice.randrange(4):
            case 0:
                frame[start:end] = dice.randbytes(end - start)
            case 1:
                del frame[start:end]
            case 2:
                frame[start:start] = dice.randbytes(dice.randint(1, 8))
            case 3:
                frame[start:start] = frame[start:end]
    return bytes(frame)


def misled(dice):
    """A frame whose checksums are right and whose fields are not."""
    kind = dice.choice(sorted(HONEST))
    fields = dict(HONEST[kind])
    for key in dice.sample(sorted(fields), dice.randint(1, 2)):
        fields[key] = dice.choice((*PACKED, dice.getrandbits(63), [dice.choice(PACKED)] * 3))
    packed = msgpack.packb(fields)
    if dice.random() < 0.3:
        packed = damaged(dice, packed)
    return sealed(packed, bytes(4 * SIZE) if kind == 1 else b"", kind=kind)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_millions_of_mutated_frames_are_read_or_refused_by_name():
    dice, expects, read = random.Random(10), expectation(SIZE), 0

    def decode():
        nonlocal read
        data = damaged(dice, dice.choice(VALID)) if dice.random() < 0.5 else misled(dice)
        try:
            message = decoded(data, expects)
        except MessageRefused:
            return
        read += 1
        if isinstance(message, ModelMessage):
            assert torch.isfinite(message.row).all()

    many("frames", decode, FRAMES)
    assert 0 < read < FRAMES / 10
