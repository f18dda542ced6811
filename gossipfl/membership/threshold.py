"""The protocol at the door: both sides exchange credentials, and then fingerprints of their settings.

It runs right after the handshake, encrypted, and before anything else is read. A message consists of its kind (one
byte), its length (two bytes, little-endian) and its content, whose limit is checked before it is read. The side
that dialled speaks first. A peer that is refused learns only that it is not a member.
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
#: Most bytes that this side reads at the door.
MOST_THRESHOLD_BYTES: Final = 2 * _HEADER_BYTES + MOST_CREDENTIAL_BYTES + MOST_FIELDS_BYTES


class Channel(Protocol):
    """The two operations that the protocol needs."""

    async def read_exactly(self, size: int) -> bytes:
        """Return the next `size` bytes."""

    async def write(self, data: bytes) -> None:
        """Send all of `data`."""


def _message(kind: _Kind, content: bytes) -> bytes:
    return integer(kind, 1) + integer(len(content), 2) + content


#: The only answer to a peer that is refused, whatever the reason.
NOT_A_MEMBER: Final = _message(_Kind.REFUSAL, b"not a member")
# Only for peers that have proved knowledge of an invitation's secret.
_SPENT: Final[Mapping[type[Exception], bytes]] = {
    InvitationUsed: b"the invitation was used",
    InvitationExpired: b"the invitation has expired",
}


class Joined(Exception):
    """The other side was granted a certificate, with which it will connect again."""


class Threshold:
    """Admission of other peers, and requests for admission by them.

    Parameters
    ----------
    charter : mapping of str to str
        Settings that all peers must share: values by name, in canonical JSON.
    """

    def __init__(self, door: Door, charter: Mapping[str, str]) -> None:
        self.door = door
        self._charter = charter

    async def cross(self, channel: Channel, session: Session) -> Member | None:
        """Exchange credentials and compare settings; return the other side's certificate, if it has one.

        Raises
        ------
        NotAdmitted
            The other side refuses this peer.
        NotAMember
            This peer refuses the other side.
        IncompatibleCharter
            Their settings differ.
        MalformedStatement
            The other side breaks the protocol.
        Joined
            The other side was granted a certificate, which ends the connection.
        """
        member = await (self._knock if session.is_initiator else self._answer)(channel, session)
        await channel.write(_message(_Kind.CHARTER, fingerprints(self._charter, binding=session.binding)))
        theirs = await _read(channel, _Kind.CHARTER, other=session.other)
        require_alike(self._charter, theirs, binding=session.binding)
        return member

    async def pass_unannounced(self, channel: Channel, session: Session) -> Member | None:
        """Decide about a peer that does not speak this protocol.

        Raises
        ------
        NotAMember
            It is not admitted.
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
            reason = _SPENT.get(type(error))
            refusal = NOT_A_MEMBER if reason is None else _message(_Kind.REFUSAL, reason)
            await _write_anyway(channel, refusal)
            raise
        await channel.write(_message(_Kind.GRANT, grant))
        raise Joined(session.other)


async def ask_to_join(channel: Channel, request: bytes, *, other: str) -> bytes:
    """Request a certificate from the dialled peer; see `invitations`.

    Raises
    ------
    NotAdmitted
        It refuses.
    """
    await channel.write(_message(_Kind.JOIN, request))
    return await _read(channel, _Kind.GRANT, other=other)


async def _write_anyway(channel: Channel, message: bytes) -> None:
    """Send a refusal, which takes effect even if the other side has already gone."""
    with suppress(Exception):
        await channel.write(message)


async def _read(channel: Channel, kind: _Kind, *, other: str) -> bytes:
    got, content = await _read_any(channel, (kind, _Kind.REFUSAL))
    if got is _Kind.REFUSAL:
        spent = next((text for text in _SPENT.values() if text == content), None)
        raise NotAdmitted(
            f"peer {other} answered: {(spent or b'not a member').decode('ascii')}",
            remedy="Ask for a new invitation: `gossipfl network invite`, in the home of an issuer."
            if kind is _Kind.GRANT
            else "`gossipfl peer status` says what to do.",
        )
    return content


async def _read_any(channel: Channel, kinds: tuple[_Kind, ...]) -> tuple[_Kind, bytes]:
    header = await channel.read_exactly(_HEADER_BYTES)
    length = int.from_bytes(header[1:], "little")
    for kind in kinds:
        if header[0] == kind and length <= _MOST[kind]:
            return kind, await channel.read_exactly(length)
    expected = " or ".join(each.name.lower() for each in kinds)
    raise MalformedStatement("a message at the door is unexpected or too long", expected=expected)
