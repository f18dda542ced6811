"""libp2p's identify: a host's protocols and addresses, and the address at which it sees the other one.

References
----------
libp2p, "Identify", https://github.com/libp2p/specs/blob/master/identify/README.md
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass
from typing import Final

import trio

from gossipfl.errors import (
    ExchangeFailed,
    ExchangeTimedOut,
    IdentityMismatch,
    MessageTooLarge,
)
from gossipfl.network.addresses import Hearsay, PeerAddress
from gossipfl.network.failures import StreamFailure
from gossipfl.network.multiaddresses import read_multiaddress, write_multiaddress
from gossipfl.network.protobuf import field, fields_of, read_varint, varint
from gossipfl.network.protocol import EXCHANGE_PROTOCOL
from gossipfl.network.service_streams import ServiceLimits, ServiceStream
from gossipfl.network.services import Services
from gossipfl.recent import RecentMap
from gossipfl.settings.addresses import public_key_of

__all__ = ["IDENTIFY_PROTOCOL", "PUSH_PROTOCOL", "Identification", "Identify"]

IDENTIFY_PROTOCOL: Final = "/ipfs/id/1.0.0"
PUSH_PROTOCOL: Final = "/ipfs/id/push/1.0.0"
_LIMITS: Final = ServiceLimits(
    streams_per_peer=2, streams_per_second=1.0, bytes=64 * 1024, bytes_per_second=16 * 1024.0, seconds=10.0
)
_MOST_BYTES: Final = 32 * 1024
_MOST_ENTRIES: Final = 256
_LONGEST_NAME: Final = 256
_MOST_AGENTS: Final = 1024
_ED25519: Final = bytes.fromhex("0801 1220")
# Field numbers of the message.
_KEY, _LISTENED, _PROTOCOLS, _OBSERVED, _VERSION, _AGENT_VERSION = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """A peer's unverified claims about itself.

    Parameters
    ----------
    agent : str
        Its software.
    protocols : tuple of str
        Protocols that it answers.
    addresses : tuple of PeerAddress
        TCP addresses that it listens at.
    observed : PeerAddress or None
        Address at which it sees this host.
    """

    agent: str
    protocols: tuple[str, ...]
    addresses: tuple[PeerAddress, ...]
    observed: PeerAddress | None


@dataclass(kw_only=True, eq=False)
class Identify:
    """Identify for one host: answers requests, sends them, and accepts pushed identifications.

    Parameters
    ----------
    addresses : callable
        Returns the addresses at which others can reach this host.
    observed : callable
        Called with the IP address at which a peer sees this host, and that peer's id.
    """

    peer_id: InitVar[str]
    services: Services
    addresses: Callable[[], Sequence[PeerAddress]]
    observed: Callable[[str, str], None]

    def __post_init__(self, peer_id: str) -> None:
        #: This host's software, with its version if the program that opens the host sets it.
        self.agent = "gossipfl"
        #: What peers claimed most recently to run, by id.
        self.agents: RecentMap[str, str] = RecentMap(_MOST_AGENTS)
        self._key = _ED25519 + public_key_of(peer_id)
        self.services.offer(IDENTIFY_PROTOCOL, self.answer, _LIMITS)
        self.services.offer(PUSH_PROTOCOL, self.take, _LIMITS)

    async def answer(self, stream: ServiceStream) -> None:
        """Send this host's identification."""
        remote = stream.connection.remote_endpoint
        message = b"".join(
            [
                field(_KEY, self._key),
                *(
                    field(_LISTENED, write_multiaddress(each))
                    for each in self.addresses()
                    if each.relay is None
                ),
                *(field(_PROTOCOLS, each.encode()) for each in (EXCHANGE_PROTOCOL, *self.services.protocols)),
                b"" if remote is None else field(_OBSERVED, write_multiaddress(remote)),
                field(_VERSION, b"ipfs/0.1.0"),
                field(_AGENT_VERSION, self.agent.encode()),
            ]
        )
        await stream.write(varint(len(message)) + message)

    async def take(self, stream: ServiceStream) -> None:
        """Accept an identification that another host pushes."""
        self._note(stream.connection.peer_id, await _read(stream))

    async def ask(
        self, peer_id: str, *, addresses: Sequence[str | Hearsay] = (), seconds: float = 10.0
    ) -> Identification:
        """Ask a peer for its identification.

        Raises
        ------
        ExchangeFailed
            It did not answer, or not in time.
        MessageRefused
            Its answer is invalid.
        """
        with trio.move_on_after(seconds):
            stream = await self.services.open(
                peer_id, [IDENTIFY_PROTOCOL], addresses=addresses, limits=_LIMITS
            )
            try:
                stream.finish()
                identification = await _read(stream)
            except StreamFailure as failure:
                raise ExchangeFailed(f"{peer_id} did not identify itself", got=failure) from failure
            finally:
                stream.reset()
            return self._note(peer_id, identification)
        raise ExchangeTimedOut(
            f"{peer_id} did not identify itself in time", expected=f"at most {seconds:g} s"
        )

    def _note(self, peer_id: str, identification: Identification) -> Identification:
        self.agents[peer_id] = identification.agent
        if identification.observed is not None and not identification.observed.is_name:
            self.observed(identification.observed.host, peer_id)
        return identification


async def _read(stream: ServiceStream) -> Identification:
    size = await _read_size(stream)
    fields = fields_of(await stream.read_exactly(size))
    if sum(map(len, fields.values())) > _MOST_ENTRIES:
        raise MessageTooLarge("an identification has too many entries", expected=f"at most {_MOST_ENTRIES}")
    key = fields.get(_KEY, [b""])[-1]
    if key and key != _ED25519 + public_key_of(stream.connection.peer_id):
        raise IdentityMismatch("an identification has a different key from the one proved in the handshake")
    listened = [read_multiaddress(each) for each in fields.get(_LISTENED, ())]
    observed = fields.get(_OBSERVED, [b""])[-1]
    return Identification(
        agent=_text(fields.get(_AGENT_VERSION, [b""])[-1]),
        protocols=tuple(_text(each) for each in fields.get(_PROTOCOLS, ())),
        addresses=tuple(each for each in listened if each is not None),
        observed=read_multiaddress(observed),
    )


async def _read_size(stream: ServiceStream) -> int:
    encoded = b""
    while len(encoded) < 3 and (not encoded or encoded[-1] & 0x80):
        encoded += await stream.read_exactly(1)
    size, _ = read_varint(encoded, 0)
    if size > _MOST_BYTES:
        raise MessageTooLarge(
            "an identification is too long", expected=f"at most {_MOST_BYTES} bytes", got=size
        )
    return size


def _text(content: bytes) -> str:
    """Return untrusted text as printable ASCII, since it may end up in logs and terminals."""
    decoded = content[:_LONGEST_NAME].decode("ascii", "replace")
    return "".join(each if each.isprintable() and each.isascii() else "?" for each in decoded)
