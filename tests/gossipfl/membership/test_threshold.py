"""The conversation at the door without a network: both sides in memory, and one side that says anything."""

import struct

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.errors import IncompatibleCharter, MalformedStatement, NotAdmitted, NotAMember
from gossipfl.membership import NOT_A_MEMBER, CertificateDoor, OpenDoor, SecretDoor, Threshold
from gossipfl.membership.threshold import MOST_THRESHOLD_BYTES

from .members import authority, certificate, key, network, session

ALICE, BOB = key("alice"), key("bob")
NETWORK = network()
DOORS = {
    "open": lambda own: OpenDoor(),
    "secret": lambda own: SecretDoor(b"s" * 32),
    "certificates": lambda own: CertificateDoor(
        authority(NETWORK), certificate=lambda: certificate(NETWORK, own)
    ),
}


class Ended(Exception):
    """The other side has no more to say."""


class Script:
    """A channel whose other side says what is written here, and keeps what it is told."""

    def __init__(self, says):
        self.says, self.position, self.told = says, 0, b""

    async def read_exactly(self, size):
        assert size <= MOST_THRESHOLD_BYTES
        if self.position + size > len(self.says):
            raise Ended
        self.position += size
        return self.says[self.position - size : self.position]

    async def write(self, data):
        self.told += data


class Memory:
    """One end of a channel in memory."""

    def __init__(self, send, receive):
        self._send, self._receive, self._buffer = send, receive, b""

    async def read_exactly(self, size):
        while len(self._buffer) < size:
            self._buffer += await self._receive.receive()
        piece, self._buffer = self._buffer[:size], self._buffer[size:]
        return piece

    async def write(self, data):
        await self._send.send(data)


def meet(dialler, listener):
    """Both sides of one conversation; what each has returned or raised."""
    results = {}

    async def main():
        there, here = trio.open_memory_channel(10), trio.open_memory_channel(10)

        async def side(name, threshold, channel, own, other):
            try:
                results[name] = await threshold.cross(
                    channel, session(own, other, is_initiator=name == "dialler")
                )
            except Exception as error:
                results[name] = type(error)

        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + 20
            nursery.start_soon(side, "dialler", dialler, Memory(there[0], here[1]), ALICE, BOB)
            nursery.start_soon(side, "listener", listener, Memory(here[0], there[1]), BOB, ALICE)

    trio.run(main)
    return results["dialler"], results["listener"]


@pytest.mark.parametrize("listening", DOORS)
@pytest.mark.parametrize("dialling", DOORS)
def test_both_sides_are_of_one_mind(dialling, listening):
    """Neither is left in the belief that it was let in by one that has turned it away."""
    dialler, listener = meet(
        Threshold(DOORS[dialling](ALICE), {"steps": "1"}), Threshold(DOORS[listening](BOB), {"steps": "1"})
    )
    if dialling == listening:
        assert (dialler is None) == (dialling != "certificates") == (listener is None)
    else:
        assert {dialler, listener} <= {*NotAMember.__subclasses__(), NotAdmitted}
        assert NotAdmitted in (dialler, listener)


@pytest.mark.parametrize("door", DOORS)
def test_both_name_what_differs(door):
    sides = [Threshold(DOORS[door](own), {"steps": str(n)}) for n, own in enumerate((ALICE, BOB))]
    assert meet(*sides) == (IncompatibleCharter, IncompatibleCharter)


MESSAGES = st.builds(
    lambda kind, length, content: (
        struct.pack("<BH", kind, len(content) if length is None else length) + content
    ),
    st.integers(0, 255) | st.integers(1, 5),
    st.none() | st.integers(0, 65535),
    st.binary(max_size=200),
)


@given(
    st.sampled_from(sorted(DOORS)), st.booleans(), st.lists(MESSAGES, max_size=3).map(b"".join) | st.binary()
)
def test_whatever_the_other_side_says_is_refused_by_name(door, is_initiator, says):
    channel = Script(says)
    threshold = Threshold(DOORS[door](BOB), {"steps": "1"})
    crossing = threshold.cross(channel, session(BOB, ALICE, is_initiator=is_initiator))
    with pytest.raises((Ended, NotAMember, NotAdmitted, MalformedStatement, IncompatibleCharter)) as ended:
        crossing.send(None)
    if not is_initiator and door != "open":  # a stranger has heard one thing, or nothing
        assert channel.told in (b"", NOT_A_MEMBER)
    if issubclass(ended.type, NotAMember):
        assert channel.told.endswith(NOT_A_MEMBER)
    assert channel.position <= MOST_THRESHOLD_BYTES
