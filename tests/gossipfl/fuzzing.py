"""Mutated bytes and values, and coroutines that read them without a network."""

import json
import time

import psutil

from gossipfl.errors import GossipflError

MOST_GROWTH = 16_000_000  # bytes of memory, whatever the inputs claim to be

ODD_VALUES = (
    *(None, True, False, -1, 2**63, 2**64 - 1, 10**400, 1.5, float("nan"), float("inf"), -float("inf")),
    *("", "\x00", "\ud800", "a" * 300, b"", b"x" * 32, [], {}, [[[[]]]], {"": None}),
)


class Ended(Exception):
    """The other side sends no more."""


class Tape:
    """A channel of bytes that are all there, and that notes how much is asked for at a time."""

    def __init__(self, data):
        self._data, self._position, self.asked, self.sent = data, 0, 0, b""

    async def read_exactly(self, size):
        self.asked = max(self.asked, size)
        piece = self._data[self._position : self._position + size]
        self._position += size
        if len(piece) < size:
            raise Ended
        return piece

    async def write(self, data):
        self.sent += data


def outcome(work, *, also=()):
    """Run a coroutine that waits for nothing; what it returns, or the error that it may raise."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    except (GossipflError, Ended, *also) as error:
        return error
    raise AssertionError("it waits for something")


def mutated(dice, data):
    """The bytes with some of them changed, cut out, inserted or repeated."""
    data = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        start = dice.randrange(len(data) + 1)
        end = min(len(data), start + dice.randint(0, 4))
        data[start:end] = dice.choice((b"", dice.randbytes(dice.randint(1, 4)), data[start:end] * 2))
    return bytes(data)


def with_odd_value(dice, values):
    """A copy of plain values in which one, at any depth, is another or missing."""
    values = json.loads(json.dumps(values))
    holder = values
    while isinstance(holder, dict | list) and holder:
        key = dice.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if isinstance(holder[key], dict | list) and holder[key] and dice.random() < 0.7:
            holder = holder[key]
            continue
        if dice.random() < 0.2:
            del holder[key]
        else:
            holder[key] = dice.choice([odd for odd in ODD_VALUES if not isinstance(odd, bytes)])
        break
    return values


def many(what, work, count):
    """Do some work again and again; memory must not grow."""
    process, began = psutil.Process(), time.monotonic()
    for number in range(count):
        if number == count // 10:
            before = process.memory_info().rss
        work()
    growth = process.memory_info().rss - before
    print(f"{count:,} {what} in {time.monotonic() - began:.0f} s, {growth / 1e6:+.1f} MB")
    assert growth < MOST_GROWTH
