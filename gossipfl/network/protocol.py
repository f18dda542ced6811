"""Protocol of exchanges, and agreeing on it on a fresh stream."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from gossipfl.network.multistream import accept, propose
from gossipfl.network.yamux.stream import Stream

__all__ = ["EXCHANGE_PROTOCOL", "agree_as_client", "agree_as_server"]

EXCHANGE_PROTOCOL: Final = "/gossipfl/exchange/1.0.0"


async def agree_as_client(stream: Stream) -> None:
    """Ask for exchanges on a stream this side opened. The caller sets the deadline.

    Raises
    ------
    ProtocolNotSpoken
        The other side does not speak the protocol.
    MalformedFrame, MessageTooLarge
        It does not negotiate.
    StreamFailure
        The stream ended meanwhile.
    """
    await propose(stream, EXCHANGE_PROTOCOL)


async def agree_as_server(stream: Stream, services: Collection[str] = ()) -> str:
    """Answer what a stream is for that the other side opened, and return it. The caller sets the deadline.

    Parameters
    ----------
    stream : Stream
    services : collection of str
        Protocols that are spoken besides.

    Raises
    ------
    MalformedFrame, MessageTooLarge
        The bytes are no negotiation, or it leads nowhere.
    StreamFailure
        The stream ended meanwhile.
    """
    return await accept(stream, (EXCHANGE_PROTOCOL, *services))
