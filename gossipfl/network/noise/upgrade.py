"""Secured sockets from TCP ones: Noise, and only Noise; Yamux, and only Yamux; behind the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio
from cryptography.exceptions import InvalidTag

from gossipfl.errors import ConnectionRefusedByPolicy, GossipflError, IdentityMismatch
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.identity import Identity
from gossipfl.network.multistream import accept, propose
from gossipfl.network.noise.handshake import Handshake
from gossipfl.network.noise.transport import LARGEST_RECORD, RecordOpener, RecordSealer

__all__ = ["MOST_HANDSHAKE_BYTES", "SecuredSocket", "Upgrader"]

_NOISE: Final = "/noise"
_YAMUX: Final = "/yamux/1.0.0"
#: A handshake takes about 1 kB; a stranger may make this side read no more than this.
MOST_HANDSHAKE_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuredSocket:
    """A socket whose other side has proved who it is.

    Parameters
    ----------
    socket : trio.SocketStream
    peer_id : str
        The proven identity.
    remote_address : str
        IP address.
    is_initiator : bool
        Whether this side dialled.
    sealer, opener : RecordSealer, RecordOpener
        The session.
    leftover : bytes
        Plaintext that came together with the handshake's last message.
    """

    socket: trio.SocketStream
    peer_id: str
    remote_address: str
    is_initiator: bool
    sealer: RecordSealer
    opener: RecordOpener
    leftover: bytes


class Upgrader:
    """Secures sockets in the name of one identity.

    Parameters
    ----------
    identity : Identity
    admit : callable
        Says of a proven peer id whether it may connect, whoever dialled.
    """

    def __init__(self, *, identity: Identity, admit: Callable[[str], bool]) -> None:
        self._handshake = Handshake(identity=identity, admit=admit)

    async def secure(
        self, socket: trio.SocketStream, *, remote_address: str, expected_peer: str | None
    ) -> SecuredSocket:
        """Prove and learn identities, and agree on Yamux. The caller sets the deadline and closes on failure.

        Parameters
        ----------
        socket : trio.SocketStream
        remote_address : str
        expected_peer : str or None
            Whom this side dialled; None if the other side dialled.

        Raises
        ------
        ConnectionLost
            The other side closed the connection meanwhile.
        IdentityMismatch
            The other side did not prove to be anyone, or not the one who was dialled.
        ConnectionRefusedByPolicy
            Its identity is not admitted.
        """
        is_initiator = expected_peer is not None
        plain = _PlainChannel(socket)
        try:
            await _agree(plain, _NOISE, is_initiator=is_initiator)
            peer_id, sealer, opener = await self._handshake.run(plain, expected_peer=expected_peer)
            sealed = _SealedChannel(plain, sealer, opener)
            await _agree(sealed, _YAMUX, is_initiator=is_initiator)
        except (ConnectionRefusedByPolicy, ConnectionLost, IdentityMismatch):
            raise
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLost("the connection broke during the handshake") from error
        except Exception as error:  # whatever a stranger's bytes provoke ends this attempt only
            said = str(error) if isinstance(error, GossipflError) else type(error).__name__
            raise IdentityMismatch(
                "no identity was proved on the connection",
                expected=f"a Noise handshake by {expected_peer or 'any peer'}",
                got=said,
            ) from error
        return SecuredSocket(
            socket=socket,
            peer_id=peer_id,
            remote_address=remote_address,
            is_initiator=is_initiator,
            sealer=sealer,
            opener=opener,
            leftover=bytes(sealed.received),
        )


async def _agree(channel: _PlainChannel | _SealedChannel, protocol: str, *, is_initiator: bool) -> None:
    if is_initiator:
        await propose(channel, protocol)
    else:
        await accept(channel, (protocol,))


class _PlainChannel:
    """The socket as the handshake sees it: reading is bounded, and never goes beyond what is asked for."""

    def __init__(self, socket: trio.SocketStream) -> None:
        self._socket = socket
        self._left = MOST_HANDSHAKE_BYTES

    async def read_exactly(self, size: int) -> bytes:
        if size > self._left:
            raise ConnectionLost("the handshake is too long")
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
    """The session as the negotiation of the muxer sees it."""

    def __init__(self, plain: _PlainChannel, sealer: RecordSealer, opener: RecordOpener) -> None:
        self._plain = plain
        self._sealer = sealer
        self._opener = opener
        self.received = bytearray()

    async def read_exactly(self, size: int) -> bytes:
        while len(self.received) < size:
            length = await self._plain.read_exactly(2)
            record = memoryview(length + await self._plain.read_exactly(int.from_bytes(length, "big")))
            out = memoryview(bytearray(min(len(record), LARGEST_RECORD)))
            try:
                opened = self._opener.open(record, 0, len(record) - 2, out)
            except InvalidTag:
                raise IdentityMismatch("a record was not sealed by the peer of the handshake") from None
            self.received += out[:opened]
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    async def write(self, data: bytes) -> None:
        buffer = memoryview(bytearray(self._sealer.sealed_size([data])))
        await self._plain.write(bytes(buffer[: self._sealer.seal([data], buffer)]))
