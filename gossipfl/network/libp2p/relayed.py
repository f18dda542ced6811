"""Sockets over the library's raw connections, so that relayed connections are secured like all others."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio
from libp2p.abc import INetStream, IRawConnection

from gossipfl.network.log_limits import limited_logger

__all__ = ["open_socket"]

_PIECE_BYTES: Final = 65_536
_log = limited_logger(__name__)


def open_socket(raw: IRawConnection | INetStream, nursery: trio.Nursery) -> trio.SocketStream:
    """Return a socket whose bytes travel over a raw connection for as long as both last."""
    near, far = (trio.SocketStream(trio.socket.from_stdlib_socket(each)) for each in socket.socketpair())
    nursery.start_soon(_carry, raw, far)
    return near


async def _carry(raw: IRawConnection | INetStream, far: trio.SocketStream) -> None:
    async def inward() -> None:
        while data := await raw.read(_PIECE_BYTES):
            await far.send_all(data)

    async def outward() -> None:
        async for data in far:
            await raw.write(bytes(data))

    try:
        async with trio.open_nursery() as nursery:
            for direction in (inward, outward):
                nursery.start_soon(_until_it_ends, direction, nursery.cancel_scope)
    finally:
        with trio.CancelScope(shield=True), suppress(Exception):
            await trio.aclose_forcefully(far)
            await raw.close()


async def _until_it_ends(direction: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
    try:
        await direction()
    except Exception as error:  # whatever the library raises must end this connection only
        _log.debug("a relayed connection ended: %s", error)
    scope.cancel()
