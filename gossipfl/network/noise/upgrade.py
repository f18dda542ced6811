"""Upgrades of TCP sockets to secured ones: Noise, the door, and the choice of Yamux; no alternatives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio
from cryptography.exceptions import InvalidTag

from gossipfl.errors import (
    ConnectionRefusedByPolicy,
    GossipflError,
    IdentityMismatch,
    IncompatibleCharter,
    MalformedStatement,
    MessageTooLarge,
    NotAdmitted,
    NotAMember,
)
from gossipfl.membership import (
    MEMBERSHIP_PROTOCOL,
    Invitation,
    Joined,
    Member,
    Session,
    Threshold,
    ask_to_join,
    request,
)
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.identity import Identity
from gossipfl.network.multistream import accept, propose
from gossipfl.network.noise.handshake import Handshake
from gossipfl.network.noise.transport import LARGEST_RECORD, RecordOpener, RecordSealer

__all__ = ["MOST_HANDSHAKE_BYTES", "SecuredSocket", "Upgrader"]

_AT_THE_DOOR: Final = (IncompatibleCharter, MalformedStatement, NotAMember, NotAdmitted)
_NOISE: Final = "/noise"
_YAMUX: Final = "/yamux/1.0.0"
#: Most bytes of handshake and door that this side reads; honest peers send about 1 kB for each.
MOST_HANDSHAKE_BYTES: Final = 16 * 1024
_MOST_GRANT_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuredSocket:
    """A socket whose other side has proved its identity.

    Parameters
    ----------
    peer_id : str
        The proven identity.
    remote_address : str
        IP address.
    is_initiator : bool
        Whether this side dialled.
    sealer, opener : RecordSealer, RecordOpener
        The session.
    leftover : bytes
        Plaintext that arrived together with the last message of the handshake.
    member : Member, optional
        The other side's certificate, if the door requires one.
    """

    socket: trio.SocketStream
    peer_id: str
    remote_address: str
    is_initiator: bool
    sealer: RecordSealer
    opener: RecordOpener
    leftover: bytes
    member: Member | None = None


class Upgrader:
    """Secures sockets for one identity.

    Parameters
    ----------
    admit : callable
        Returns whether a proven peer id may connect, whichever side dialled.
    threshold : Threshold, optional
        Door and charter, if there are any.
    on_turned_away : callable, optional
        Called with peer id, IP address and error when one side does not admit the other.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        admit: Callable[[str], bool],
        threshold: Threshold | None = None,
        on_turned_away: Callable[[str, str, GossipflError], None] = lambda *_: None,
    ) -> None:
        self._own = identity.peer_id
        self._handshake = Handshake(identity=identity, admit=admit)
        self._threshold = threshold
        self._on_turned_away = on_turned_away

    async def secure(
        self, socket: trio.SocketStream, *, remote_address: str, expected_peer: str | None
    ) -> SecuredSocket:
        """Authenticate both sides and agree on Yamux. The caller sets the deadline, and closes on failure.

        Parameters
        ----------
        expected_peer : str or None
            The peer that this side dialled; None if the other side dialled.

        Raises
        ------
        ConnectionLost
            The other side closed the connection meanwhile.
        IdentityMismatch
            The other side did not prove an identity, or proved another one than `expected_peer`.
        ConnectionRefusedByPolicy
            Its identity is not admitted.
        NotAMember, IncompatibleCharter, NotAdmitted
            One side does not admit the other.
        """
        is_initiator = expected_peer is not None
        try:
            session, sealed = await self._prove(socket, expected_peer, most_bytes=MOST_HANDSHAKE_BYTES)
            try:
                member = await self._pass_the_door(sealed, session)
            except _AT_THE_DOOR as error:
                self._on_turned_away(session.other, remote_address, error)
                raise
        except (*_AT_THE_DOOR, ConnectionRefusedByPolicy, ConnectionLost, IdentityMismatch):
            raise
        except Joined as error:
            raise ConnectionLost("the peer has joined the network") from error
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLost("the connection broke during the handshake") from error
        except Exception as error:  # whatever untrusted bytes cause must end this attempt only
            said = str(error) if isinstance(error, GossipflError) else type(error).__name__
            raise IdentityMismatch(
                "no identity was proved on the connection",
                expected=f"a Noise handshake by {expected_peer or 'any peer'}",
                got=said,
            ) from error
        return SecuredSocket(
            socket=socket,
            peer_id=session.other,
            remote_address=remote_address,
            is_initiator=is_initiator,
            sealer=sealed.sealer,
            opener=sealed.opener,
            leftover=bytes(sealed.received),
            member=member,
        )

    async def join(self, socket: trio.SocketStream, invitation: Invitation) -> bytes:
        """Ask a peer for a certificate, and return its grant. The caller sets the deadline and closes.

        Raises
        ------
        NotAdmitted
            It refuses.
        ConnectionLost, IdentityMismatch, MalformedFrame
            As in `secure`, or the peer issues no certificates.
        """
        session, sealed = await self._prove(socket, invitation.peer_id, most_bytes=_MOST_GRANT_BYTES)
        await propose(sealed, MEMBERSHIP_PROTOCOL)
        return await ask_to_join(sealed, request(invitation, session), other=session.other)

    async def _prove(
        self, socket: trio.SocketStream, expected_peer: str | None, *, most_bytes: int
    ) -> tuple[Session, _SealedChannel]:
        is_initiator = expected_peer is not None
        plain = _PlainChannel(socket, most_bytes=most_bytes)
        await _agree(plain, _NOISE, is_initiator=is_initiator)
        peer_id, binding, sealer, opener = await self._handshake.run(plain, expected_peer=expected_peer)
        session = Session(
            own=self._own, other=peer_id, is_initiator=is_initiator, binding=binding, now=time.time()
        )
        return session, _SealedChannel(plain, sealer, opener)

    async def _pass_the_door(self, sealed: _SealedChannel, session: Session) -> Member | None:
        """Exchange and check credentials, and agree on Yamux."""
        threshold = self._threshold
        protocols = (_YAMUX,) if threshold is None else (MEMBERSHIP_PROTOCOL, _YAMUX)
        if session.is_initiator:
            agreed = await propose(sealed, *protocols)
        else:
            agreed = await accept(sealed, protocols)
        if threshold is None:
            return None
        if agreed == _YAMUX:
            return await threshold.pass_unannounced(sealed, session)
        member = await threshold.cross(sealed, session)
        await _agree(sealed, _YAMUX, is_initiator=session.is_initiator)
        return member


async def _agree(channel: _PlainChannel | _SealedChannel, protocol: str, *, is_initiator: bool) -> None:
    if is_initiator:
        await propose(channel, protocol)
    else:
        await accept(channel, (protocol,))


class _PlainChannel:
    """A socket with bounded reads, which never reads more than requested."""

    def __init__(self, socket: trio.SocketStream, *, most_bytes: int) -> None:
        self._socket = socket
        self._left = most_bytes

    async def read_exactly(self, size: int) -> bytes:
        if size > self._left:
            raise MessageTooLarge("the handshake is too long")
        self._left -= size
        data = bytearray()
        while len(data) < size:
            piece = await self._socket.receive_some(size - len(data))
            if not piece:
                raise ConnectionLost("the connection was closed during the handshake")
            data += piece
        return bytes(data)

    async def write(self, data: bytes) -> None:
        await self._socket.send_all(data)


class _SealedChannel:
    """The encrypted session, for the door and the negotiation of the multiplexer."""

    def __init__(self, plain: _PlainChannel, sealer: RecordSealer, opener: RecordOpener) -> None:
        self._plain = plain
        self.sealer = sealer
        self.opener = opener
        self.received = bytearray()

    async def read_exactly(self, size: int) -> bytes:
        while len(self.received) < size:
            length = await self._plain.read_exactly(2)
            record = memoryview(length + await self._plain.read_exactly(int.from_bytes(length, "big")))
            out = memoryview(bytearray(min(len(record), LARGEST_RECORD)))
            try:
                opened = self.opener.open(record, 0, len(record) - 2, out)
            except InvalidTag:
                raise IdentityMismatch("a record was not sealed by the authenticated peer") from None
            self.received += out[:opened]
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    async def write(self, data: bytes) -> None:
        buffer = memoryview(bytearray(self.sealer.sealed_size([data])))
        await self._plain.write(bytes(buffer[: self.sealer.seal([data], buffer)]))
