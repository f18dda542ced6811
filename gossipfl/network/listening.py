"""Listeners that accept connections within the host's limits."""

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
# The system has run out of descriptors or memory for another socket, for the moment.
_EXHAUSTION: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS: Final = 0.5
_log = limited_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """Listening sockets.

    Parameters
    ----------
    addresses : tuple of PeerAddress
        Their addresses, with the ports that the system chose.
    chosen_ports : mapping of str to int
        The port that the system chose for each address with port 0.
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

        A socket's place becomes free as soon as it is closed (stock libp2p keeps it until the host ends, and so
        refuses the 251st connection), and bytes from outside can end only their own socket.

        Parameters
        ----------
        table : ConnectionTable
            Limits connections.
        newcomers : Newcomers
            Limits handshakes.
        adopt : callable
            Serves a secured connection until it ends.
        on_refused : callable
            Called with the error of each refused connection.
        """

        async def accept(socket: trio.SocketStream) -> None:
            try:
                address = str(socket.socket.getpeername()[0])
            except OSError:  # already closed
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
            except Exception:  # a bug on this side must not end the host or its other connections
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
            _log.error("cannot accept connections for the moment: %s", error)
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
    last_ports : mapping of str to int, optional
        The port to try first for each address with port 0.

    Raises
    ------
    InvalidAddress
        An address is in use, or not an address of this machine.
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
                f"cannot listen at {address}",
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
            # Lets this peer dial from the port (`Dialler.dial`). Set after binding, so the port was free.
            listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return list(listeners)


async def _open_again(address: PeerAddress, last_port: int | None) -> list[trio.SocketListener]:
    """Listen at the port of the last start, which others know, if the address has port 0 and it is free."""
    if address.port != 0 or last_port is None:
        return []
    try:
        return await _open(replace(address, port=last_port))
    except OSError as error:
        _log.warning(
            "cannot listen at the previous port %d (%s), so another one is used: peers that know only the old "
            "address need the new one",
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
