"""From a TCP socket to a secured one: Noise, and only Noise; Yamux, and only Yamux.

Stock libp2p also accepts an exchange in plaintext, where the peer id is a mere claim; gates connections by IP
address alone; and builds its own `Yamux` whatever muxer it was given. So the library does here what it does
well (negotiation, handshake), is offered one choice of each, and the gate stands behind the handshake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import trio

from gossipfl.errors import ConnectionRefusedByPolicy, IdentityMismatch
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.identity import Identity
from gossipfl.network.libp2p_imports import (
    ID,
    NOISE,
    YAMUX,
    GenericMultistreamSelector,
    IRawConnection,
    ISecureConn,
    KeyPair,
    NoiseTransport,
    PrivateKey,
    RawConnection,
    SecurityMultistream,
    TProtocol,
    create_noise_key_pair,
)
from gossipfl.network.noise.transport import RecordOpener, RecordSealer

__all__ = ["SecuredSocket", "Upgrader"]

# A handshake takes about 1 kB; a stranger may make this side read no more than this.
_MOST_HANDSHAKE_BYTES: Final = 64 * 1024


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
        Says of a proven peer id whether it may connect.
    """

    def __init__(self, *, identity: Identity, admit: Callable[[str], bool]) -> None:
        noise = _GatedNoise(identity.key_pair, noise_privkey=create_noise_key_pair().private_key, admit=admit)
        self._security = SecurityMultistream({NOISE: noise})
        self._muxers = GenericMultistreamSelector()
        self._muxers.add_handler(TProtocol(YAMUX), None)

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
        raw = RawConnection(_HandshakeSocket(socket), is_initiator)
        try:
            if expected_peer is not None:
                session = await self._security.secure_outbound(raw, ID.from_base58(expected_peer))
            else:
                session = await self._security.secure_inbound(raw)
            await self._muxers.select(session, is_initiator)
        except (ConnectionRefusedByPolicy, ConnectionLost):
            raise
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionLost("the connection broke during the handshake") from error
        except (
            Exception
        ) as error:  # whatever a stranger's bytes provoke in the library ends this attempt only
            raise IdentityMismatch(
                "no identity was proved on the connection",
                expected=f"a Noise handshake by {expected_peer or 'any peer'}",
                got=f"{type(error).__name__}: {error}",
            ) from error
        noise = session.conn.noise_state.noise_protocol
        return SecuredSocket(
            socket=socket,
            peer_id=str(session.get_remote_peer()),
            remote_address=remote_address,
            is_initiator=is_initiator,
            sealer=RecordSealer(noise.cipher_state_encrypt),
            opener=RecordOpener(noise.cipher_state_decrypt),
            leftover=session._drain(None),
        )


class _GatedNoise(NoiseTransport):  # type: ignore[misc]
    """The library's Noise, behind which only admitted identities pass, whoever dialled."""

    def __init__(self, key_pair: KeyPair, *, noise_privkey: PrivateKey, admit: Callable[[str], bool]) -> None:
        super().__init__(key_pair, noise_privkey=noise_privkey)
        self._admit = admit

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        return self._gate(await super().secure_inbound(conn))

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        return self._gate(await super().secure_outbound(conn, peer_id))

    def _gate(self, session: ISecureConn) -> ISecureConn:
        peer_id = str(session.get_remote_peer())
        if not self._admit(peer_id):
            raise ConnectionRefusedByPolicy("this peer is not admitted", got=peer_id)
        return session


class _HandshakeSocket:
    """The socket as the handshake sees it: reading is bounded, whatever lengths a stranger announces."""

    def __init__(self, socket: trio.SocketStream) -> None:
        self._socket = socket
        self._left = _MOST_HANDSHAKE_BYTES

    async def read(self, n: int | None = None) -> bytes:
        if not self._left:
            raise ConnectionLost("the handshake is too long")
        data = bytes(await self._socket.receive_some(min(self._left if n is None else n, self._left)))
        if not data:
            raise ConnectionLost("the connection was closed during the handshake")
        self._left -= len(data)
        return data

    async def write(self, data: bytes) -> None:
        await self._socket.send_all(data)

    async def close(self) -> None:
        await self._socket.aclose()

    def get_remote_address(self) -> None:
        return None
