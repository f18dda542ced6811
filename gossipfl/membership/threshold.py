"""The conversation at the door: each side shows who it is, and then how its settings compare.

It runs right after the handshake, inside the encryption and before anything else is read. A message is its kind
(one byte), its length (two, little-endian) and its content; each has a bound that is checked before it is read.
The side that dialled speaks first, and a stranger among the two learns nothing but that it is not a member.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NoReturn, Protocol

from gossipfl.errors import (
    InvitationExpired,
    InvitationUsed,
    MalformedStatement,
    NotAdmitted,
    NotAMember,
)
from gossipfl.membership.authority import Member
from gossipfl.membership.charter import MOST_FIELDS_BYTES, fingerprints, require_alike
from gossipfl.membership.codec import integer
from gossipfl.membership.doors import MOST_CREDENTIAL_BYTES, Door
from gossipfl.membership.invitations import MOST_GRANT_BYTES, REQUEST_BYTES
from gossipfl.membership.sessions import Session

__all__ = [
    "MEMBERSHIP_PROTOCOL",
    "MOST_THRESHOLD_BYTES",
    "NOT_A_MEMBER",
    "Channel",
    "Joined",
    "Threshold",
    "ask_to_join",
]

MEMBERSHIP_PROTOCOL: Final = "/gossipfl/membership/1.0.0"


class _Kind(enum.IntEnum):
    INTRODUCTION = 1
    CHARTER = 2
    REFUSAL = 3
    JOIN = 4
    GRANT = 5


_HEADER_BYTES: Final = 3
_MOST: Final = {
    _Kind.INTRODUCTION: MOST_CREDENTIAL_BYTES,
    _Kind.CHARTER: MOST_FIELDS_BYTES,
    _Kind.REFUSAL: 64,
    _Kind.JOIN: REQUEST_BYTES,
    _Kind.GRANT: MOST_GRANT_BYTES,
}
#: Bytes that the other side may make this one read at the door.
MOST_THRESHOLD_BYTES: Final = 2 * _HEADER_BYTES + MOST_CREDENTIAL_BYTES + MOST_FIELDS_BYTES


class Channel(Protocol):
    """What the conversation takes place on."""

    async def read_exactly(self, size: int) -> bytes:
        """Return the next `size` bytes."""

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""


def _message(kind: _Kind, content: bytes) -> bytes:
    return integer(kind, 1) + integer(len(content), 2) + content


#: All that a stranger is told, whatever the reason.
NOT_A_MEMBER: Final = _message(_Kind.REFUSAL, b"not a member")
# Told to whoever has proved to hold the secret of an invitation, and so is no stranger.
_SPENT: Final[Mapping[type[Exception], bytes]] = {
    InvitationUsed: b"the invitation was used",
    InvitationExpired: b"the invitation has expired",
}


class Joined(Exception):
    """The other side was given a certificate, with which it will come again."""


class Threshold:
    """What a peer has at its door, and takes to the doors of others.

    Parameters
    ----------
    door : Door
    charter : mapping of str to str
        What all peers must have alike: values by name, in canonical JSON.
    """

    def __init__(self, door: Door, charter: Mapping[str, str]) -> None:
        self.door = door
        self._charter = charter

    async def cross(self, channel: Channel, session: Session) -> Member | None:
        """Introduce and examine each other, and compare settings; return the other's certificate, if any.

        Raises
        ------
        NotAdmitted
            The other side says that this peer is not a member.
        NotAMember
            The other side is none itself.
        IncompatibleCharter
            Its settings differ.
        MalformedStatement
            It says what nobody should.
        Joined
            It was given a certificate, and has no more to say.
        """
        member = await (self._knock if session.is_initiator else self._answer)(channel, session)
        await channel.write(_message(_Kind.CHARTER, fingerprints(self._charter, binding=session.binding)))
        theirs = await _read(channel, _Kind.CHARTER, other=session.other)
        require_alike(self._charter, theirs, binding=session.binding)
        return member

    async def pass_unannounced(self, channel: Channel, session: Session) -> Member | None:
        """Decide about a peer that does not know of doors.

        Raises
        ------
        NotAMember
            This door is not open to it.
        """
        try:
            return self.door.examine(session, None)
        except NotAMember:
            if not session.is_initiator:
                await _write_anyway(channel, NOT_A_MEMBER)
            raise

    async def _knock(self, channel: Channel, session: Session) -> Member | None:
        await channel.write(_message(_Kind.INTRODUCTION, self.door.introduction(session)))
        credential = await _read(channel, _Kind.INTRODUCTION, other=session.other)
        return await self._examined(channel, session, credential)

    async def _answer(self, channel: Channel, session: Session) -> Member | None:
        kind, content = await _read_any(channel, (_Kind.INTRODUCTION, _Kind.JOIN))
        if kind is _Kind.JOIN:
            await self._let_join(channel, session, content)
        member = await self._examined(channel, session, content)
        await channel.write(_message(_Kind.INTRODUCTION, self.door.introduction(session)))
        return member

    async def _examined(self, channel: Channel, session: Session, credential: bytes) -> Member | None:
        try:
            return self.door.examine(session, credential)
        except (NotAMember, MalformedStatement):
            await _write_anyway(channel, NOT_A_MEMBER)
            raise

    async def _let_join(self, channel: Channel, session: Session, request: bytes) -> NoReturn:
        try:
            grant = self.door.issue(session, request)
        except (NotAMember, MalformedStatement) as error:
            told = _SPENT.get(type(error))
            await _write_anyway(channel, NOT_A_MEMBER if told is None else _message(_Kind.REFUSAL, told))
            raise
        await channel.write(_message(_Kind.GRANT, grant))
        raise Joined(session.other)


async def ask_to_join(channel: Channel, request: bytes, *, other: str) -> bytes:
    """Ask the peer that was dialled for a certificate; see `invitations`.

    Raises
    ------
    NotAdmitted
        It refuses.
    """
    await channel.write(_message(_Kind.JOIN, request))
    return await _read(channel, _Kind.GRANT, other=other)


async def _write_anyway(channel: Channel, message: bytes) -> None:
    """Tell the other side why it ends here; it may have gone already, and is refused all the same."""
    with suppress(Exception):
        await channel.write(message)


async def _read(channel: Channel, kind: _Kind, *, other: str) -> bytes:
    came, content = await _read_any(channel, (kind, _Kind.REFUSAL))
    if came is _Kind.REFUSAL:
        spent = next((text for text in _SPENT.values() if text == content), None)
        raise NotAdmitted(
            f"peer {other} says: {(spent or b'not a member').decode('ascii')}",
            remedy="Join its network: `gossipfl network join INVITATION --home DIR`.",
        )
    return content


async def _read_any(channel: Channel, kinds: tuple[_Kind, ...]) -> tuple[_Kind, bytes]:
    header = await channel.read_exactly(_HEADER_BYTES)
    length = int.from_bytes(header[1:], "little")
    for kind in kinds:
        if header[0] == kind and length <= _MOST[kind]:
            return kind, await channel.read_exactly(length)
    expected = " or ".join(each.name.lower() for each in kinds)
    raise MalformedStatement("a message at the door has no place here, or is too long", expected=expected)
