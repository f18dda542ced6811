"""Accepting connections, as many as the limits allow and for as long as the host lives."""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from gossipfl.errors import GossipflError, IdentityMismatch, InvalidAddress
from gossipfl.network.addresses import PeerAddress, own_address, parse_address
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.table import ConnectionTable
from gossipfl.network.upgrade import SecuredSocket, Upgrader

__all__ = ["Listening", "open_listeners"]

_BACKLOG: Final = 256
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """Sockets that are listened at.

    Parameters
    ----------
    listeners : tuple of trio.SocketListener
    announced : tuple of PeerAddress
        By which others reach them.
    """

    listeners: tuple[trio.SocketListener, ...]
    announced: tuple[PeerAddress, ...]

    async def serve(
        self,
        *,
        table: ConnectionTable,
        upgrader: Upgrader,
        limits: NetworkLimits,
        adopt: Callable[[SecuredSocket], Awaitable[None]],
        on_refused: Callable[[GossipflError], None],
    ) -> None:
        """Accept, secure and hand over connections, for ever.

        Every socket's place is free again once it is closed (stock libp2p keeps it until the host ends, and
        refuses the 251st connection of a lifetime), and a stranger's bytes can end no more than their socket.

        Parameters
        ----------
        table : ConnectionTable
            Says whether there is a place.
        upgrader : Upgrader
        limits : NetworkLimits
        adopt : callable
            Serves a secured connection until it ends.
        on_refused : callable
            Is handed the error of each connection that was refused.
        """

        async def accept(socket: trio.SocketStream) -> None:
            try:
                address = str(socket.socket.getpeername()[0])
            except OSError:  # gone already
                return
            try:
                table.admit_socket(address)
            except GossipflError as error:
                on_refused(error)
                return
            try:
                try:
                    secured = await _secure(socket, address, upgrader, seconds=limits.dial_seconds)
                finally:
                    table.end_handshake(address)
                await adopt(secured)
            except ConnectionLost as failure:
                _log.debug("a connection from %s was lost early: %s", address, failure)
            except GossipflError as error:
                on_refused(error)
            except Exception:  # a fault of this side; the host and its other connections live on
                _log.exception("a connection from %s failed", address)
            finally:
                table.release_socket(address)

        await trio.serve_listeners(accept, list(self.listeners))

    def close(self) -> None:
        """Stop listening."""
        for listener in self.listeners:
            listener.socket.close()


async def open_listeners(
    addresses: Sequence[PeerAddress], *, announce: Sequence[str] | None = None
) -> Listening:
    """Listen at all addresses.

    Raises
    ------
    InvalidAddress
        An address cannot be listened at: it is taken, or not this machine's.
    """
    listeners: list[trio.SocketListener] = []
    announced: list[PeerAddress] = []
    for address in addresses:
        try:
            opened = await trio.open_tcp_listeners(address.port, host=address.host, backlog=_BACKLOG)
        except OSError as error:
            for listener in listeners:
                listener.socket.close()
            raise InvalidAddress(
                f"{address} cannot be listened at",
                came=error.strerror or str(error),
                remedy="Choose another port, or 0 for any free one."
                if error.errno == errno.EADDRINUSE
                else "Choose an address of this machine.",
            ) from error
        listeners += opened
        port = int(opened[0].socket.getsockname()[1])
        host = own_address(address.family) if address.host in ("0.0.0.0", "::") else address.host  # noqa: S104
        announced.append(PeerAddress(address.family, host, port))
    if announce is not None:
        announced = [parse_address(each) for each in announce]
    return Listening(tuple(listeners), tuple(announced))


async def _secure(
    socket: trio.SocketStream, address: str, upgrader: Upgrader, *, seconds: float
) -> SecuredSocket:
    with trio.move_on_after(seconds) as deadline:
        secured = await upgrader.secure(socket, remote_address=address, expected_peer=None)
    if deadline.cancelled_caught:
        raise IdentityMismatch("no identity was proved in time", expected=f"within {seconds:g} s")
    return secured
