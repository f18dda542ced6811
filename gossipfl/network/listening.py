"""Accepting connections, as many as the limits allow and for as long as the host lives."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import trio

from gossipfl.errors import GossipflError, IdentityMismatch, InvalidAddress
from gossipfl.network.addresses import PeerAddress
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.limits import NetworkLimits
from gossipfl.network.log_limits import limited_logger
from gossipfl.network.newcomers import Newcomers
from gossipfl.network.noise.upgrade import SecuredSocket, Upgrader
from gossipfl.network.table import ConnectionTable

__all__ = ["Listening", "open_listeners"]

_BACKLOG: Final = 256
# What the system lacks when it has no descriptors or memory for another socket; it passes.
_EXHAUSTION: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS: Final = 0.5
_log = limited_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """Sockets that are listened at.

    Parameters
    ----------
    listeners : tuple of trio.SocketListener
    addresses : tuple of PeerAddress
        What is listened at, with the ports that the system chose.
    chosen_ports : mapping of str to int
        By address that left the port open, the one it got.
    """

    listeners: tuple[trio.SocketListener, ...]
    addresses: tuple[PeerAddress, ...]
    chosen_ports: Mapping[str, int] = field(default_factory=dict)

    async def serve(
        self,
        *,
        table: ConnectionTable,
        newcomers: Newcomers,
        upgrader: Upgrader,
        limits: NetworkLimits,
        adopt: Callable[[SecuredSocket], Awaitable[None]],
        on_refused: Callable[[GossipflError], None],
    ) -> None:
        """Accept, secure and hand over connections, until cancelled.

        Every socket's place is free again once it is closed (stock libp2p keeps it until the host ends, and
        refuses the 251st connection of a lifetime), and a stranger's bytes can end no more than their socket.

        Parameters
        ----------
        table : ConnectionTable
            Says whether there is a place for a connection,
        newcomers : Newcomers
            and whether there is one for a handshake.
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
                with newcomers.admitted(address):
                    secured = await _secure(socket, address, upgrader, seconds=limits.dial_seconds)
                await adopt(secured)
            except ConnectionLost as failure:
                _log.debug("a connection from %s was lost early: %s", address, failure)
            except GossipflError as error:
                on_refused(error)
            except Exception:  # a fault of this side; the host and its other connections live on
                _log.exception("a connection from %s failed", address)
            finally:
                table.release_socket(address)

        async with trio.open_nursery() as nursery:
            for listener in self.listeners:
                nursery.start_soon(_accept_for_ever, listener, accept, nursery)

    def close(self) -> None:
        """Stop listening."""
        for listener in self.listeners:
            listener.socket.close()


async def _accept_for_ever(
    listener: trio.SocketListener,
    serve: Callable[[trio.SocketStream], Awaitable[None]],
    nursery: trio.Nursery,
) -> None:
    async def run(socket: trio.SocketStream) -> None:
        try:
            await serve(socket)
        finally:
            await trio.aclose_forcefully(socket)

    while True:
        try:
            socket = await listener.accept()
        except OSError as error:
            if error.errno not in _EXHAUSTION:
                raise
            _log.error("no more connections are accepted for the moment: %s", error)
            await trio.sleep(_PAUSE_SECONDS)
            continue
        nursery.start_soon(run, socket)


async def open_listeners(
    addresses: Sequence[PeerAddress],
    *,
    last_ports: Mapping[str, int] | None = None,
) -> Listening:
    """Listen at all addresses.

    Parameters
    ----------
    addresses : sequence of PeerAddress
    last_ports : mapping of str to int, optional
        By address that leaves the port open, the one to try first.

    Raises
    ------
    InvalidAddress
        An address cannot be listened at: it is taken, or not this machine's.
    """
    listeners: list[trio.SocketListener] = []
    listened: list[PeerAddress] = []
    chosen_ports: dict[str, int] = {}
    for address in addresses:
        try:
            opened = await _open_again(address, (last_ports or {}).get(str(address)))
            opened = opened or await _open(address)
        except OSError as error:
            for listener in listeners:
                listener.socket.close()
            raise InvalidAddress(
                f"{address} cannot be listened at",
                got=error.strerror or str(error),
                remedy="Choose another port, or 0 for any free one."
                if error.errno == errno.EADDRINUSE
                else "Choose an address of this machine.",
            ) from error
        listeners += opened
        port = int(opened[0].socket.getsockname()[1])
        if address.port == 0:
            chosen_ports[str(address)] = port
        listened.append(replace(address, port=port))
    return Listening(tuple(listeners), tuple(listened), chosen_ports)


async def _open(address: PeerAddress) -> list[trio.SocketListener]:
    listeners = await trio.open_tcp_listeners(address.port, host=address.host, backlog=_BACKLOG)
    if hasattr(socket, "SO_REUSEPORT"):
        for listener in listeners:
            # Lets this peer dial from the port (`Dialler.dial`). Set only now, so the port was free.
            listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return list(listeners)


async def _open_again(address: PeerAddress, last_port: int | None) -> list[trio.SocketListener]:
    """Listen where others know this peer, if the port is open and free."""
    if address.port != 0 or last_port is None:
        return []
    try:
        return await _open(replace(address, port=last_port))
    except OSError as error:
        _log.warning(
            "the last port %d cannot be listened at (%s), so another one is taken: peers that know only the "
            "old one need the new address",
            last_port,
            error.strerror or error,
        )
        return []


async def _secure(
    socket: trio.SocketStream, address: str, upgrader: Upgrader, *, seconds: float
) -> SecuredSocket:
    with trio.move_on_after(seconds) as deadline:
        secured = await upgrader.secure(socket, remote_address=address, expected_peer=None)
    if deadline.cancelled_caught:
        raise IdentityMismatch("no identity was proved in time", expected=f"within {seconds:g} s")
    return secured
