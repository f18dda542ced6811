"""libp2p's ping: 32 bytes, echoed repeatedly.

References
----------
libp2p, "Ping", https://github.com/libp2p/specs/blob/master/ping/ping.md
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

import trio

from gossipfl.errors import ExchangeFailed, ExchangeTimedOut
from gossipfl.network.addresses import Hearsay
from gossipfl.network.failures import StreamFailure
from gossipfl.network.service_streams import ServiceLimits, ServiceStream
from gossipfl.network.services import Services

__all__ = ["PING_LIMITS", "PING_PROTOCOL", "answer_pings", "ping"]

PING_PROTOCOL: Final = "/ipfs/ping/1.0.0"
_BYTES: Final = 32
#: Sixteen pings a second; a stream with one a second lasts for ten minutes.
PING_LIMITS: Final = ServiceLimits(
    streams_per_peer=2, bytes=64 * 1024, bytes_per_second=1024.0, seconds=600.0
)


async def answer_pings(stream: ServiceStream) -> None:
    """Echo 32 bytes at a time until the other side ends."""
    while True:
        await stream.write(await stream.read_exactly(_BYTES))


async def ping(
    services: Services, peer_id: str, *, addresses: Sequence[str | Hearsay] = (), seconds: float = 10.0
) -> float:
    """Return the round-trip time to a peer in seconds.

    Raises
    ------
    ExchangeFailed
        The peer did not answer, or not in time.
    """
    with trio.move_on_after(seconds):
        stream = await services.open(peer_id, [PING_PROTOCOL], addresses=addresses, limits=PING_LIMITS)
        try:
            sent, payload = trio.current_time(), secrets.token_bytes(_BYTES)
            await stream.write(payload)
            if await stream.read_exactly(_BYTES) != payload:
                raise ExchangeFailed("the answer to a ping differs from what was sent")
            took = trio.current_time() - sent
            stream.close()
        except StreamFailure as failure:
            raise ExchangeFailed(f"{peer_id} did not answer a ping", got=failure) from failure
        finally:
            stream.reset()
        return took
    raise ExchangeTimedOut(f"{peer_id} did not answer a ping in time", expected=f"at most {seconds:g} s")
