"""Agreeing, on a fresh stream, that exchanges follow."""

from __future__ import annotations

from typing import Final

from gossipfl.errors import MalformedFrame
from gossipfl.network.failures import StreamFailure
from gossipfl.network.libp2p_imports import Multiselect, MultiselectClient, MultiselectCommunicator, TProtocol
from gossipfl.network.yamux.stream import Stream

__all__ = ["EXCHANGE_PROTOCOL", "agree_as_client", "agree_as_server"]

EXCHANGE_PROTOCOL: Final = "/gossipfl/exchange/1.0.0"


async def agree_as_client(stream: Stream) -> None:
    """Ask for exchanges on a stream this side opened. The caller sets the deadline.

    Raises
    ------
    MalformedFrame
        The other side does not speak the protocol.
    StreamFailure
        The stream ended meanwhile.
    """
    try:
        await MultiselectClient().select_one_of(
            [TProtocol(EXCHANGE_PROTOCOL)], MultiselectCommunicator(stream)
        )
    except StreamFailure:
        raise
    except Exception as error:
        raise MalformedFrame(
            "the other side does not speak the protocol of exchanges",
            expected=EXCHANGE_PROTOCOL,
            got=f"{type(error).__name__}: {error}",
        ) from error


async def agree_as_server(stream: Stream) -> None:
    """Answer what a stream is for that the other side opened. The caller sets the deadline.

    Raises
    ------
    MalformedFrame
        The bytes are no negotiation. (The library lets three of them, ``02 ff 0a``, end the whole host.)
    StreamFailure
        The stream ended meanwhile.
    """
    negotiation = Multiselect({TProtocol(EXCHANGE_PROTOCOL): None})
    try:
        await negotiation.negotiate(MultiselectCommunicator(stream))
    except StreamFailure:
        raise
    except Exception as error:
        raise MalformedFrame(
            "a stream did not begin with a negotiation", got=f"{type(error).__name__}: {error}"
        ) from error
