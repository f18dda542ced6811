"""Serving of ASGI applications with limits on connections: the page on 127.0.0.1, metrics elsewhere."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from starlette.types import ASGIApp

from gossipfl.errors import SettingError
from gossipfl.peer.page.shares import Shares, party_of

__all__ = ["listen", "serve"]

logger = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
_MOST_CONNECTIONS: Final = 32
_CONNECTION_SECONDS: Final = 600.0
_IDLE_SECONDS: Final = 15.0
_HEADER_BYTES: Final = 16 * 1024


async def listen(
    port: int, *, host: str = HOST, setting: str = "page.port"
) -> tuple[trio.SocketListener, int]:
    """Listen on a TCP port, 0 for a free one; return the listener and the port.

    Parameters
    ----------
    host : str, optional
        IP address of this machine.
    setting : str, optional
        Which one gave them.

    Raises
    ------
    SettingError
        The port is in use, or not permitted.
    """
    try:
        listener = (await trio.open_tcp_listeners(port, host=host, backlog=_MOST_CONNECTIONS))[0]
    except OSError as error:
        raise SettingError(
            f"{setting} {port}: cannot listen at {host}",
            got=error.strerror or error,
            remedy="Choose another port, or 0 for a free one.",
        ) from error
    return listener, listener.socket.getsockname()[1]


async def serve(app: ASGIApp, listener: trio.SocketListener, *, shares: Shares | None = None) -> None:
    """Answer requests until cancelled.

    Of connections beyond a limit, the oldest of whoever has most is closed. A connection lives for ten
    minutes at most, and fifteen seconds without a byte.

    Parameters
    ----------
    shares : Shares, optional
        In which connections from other machines are counted.
    """
    connections = _Connections(app, shares)
    await trio.serve_listeners(connections.handle, [listener])


class _Connections:
    def __init__(self, app: ASGIApp, shares: Shares | None) -> None:
        self._app = ASGIWrapper(app)  # type: ignore[arg-type]
        self._shares = shares
        self._context = WorkerContext(None)
        self._config = config = Config()
        config.errorlog = logger
        config.loglevel = "WARNING"
        config.h11_max_incomplete_size = _HEADER_BYTES
        config.keep_alive_timeout = config.read_timeout = _IDLE_SECONDS  # type: ignore[assignment]
        config.include_server_header = False
        self._open: list[tuple[str, trio.CancelScope]] = []

    async def handle(self, stream: trio.SocketStream) -> None:
        party = _party_behind(stream)
        if party is None or not self._make_room(party):
            await trio.aclose_forcefully(stream)
            return
        try:
            async with trio.open_nursery() as nursery:
                place = (party, nursery.cancel_scope)
                self._open.append(place)
                try:
                    nursery.start_soon(_end, stream)
                    if self._shares is not None:
                        await self._shares.take(party)
                    watched = _Watched(stream, on_end=nursery.cancel_scope.cancel)
                    with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                        await _Server(self._app, self._config, self._context, {}, watched)  # type: ignore[arg-type]
                    nursery.cancel_scope.cancel()
                finally:
                    if place in self._open:
                        self._open.remove(place)
        except* Exception:  # a bug in the server of one request must not end the peer
            logger.exception("a connection to the page failed")

    def _make_room(self, party: str) -> bool:
        """Return whether one more connection may be open; if there are too many, the largest crowd loses one."""
        if len(self._open) < _MOST_CONNECTIONS:
            return True
        crowds = Counter(each for each, _ in self._open)
        crowd, count = crowds.most_common(1)[0]
        if count <= crowds[party] + 1:
            return False
        oldest = next(each for each in self._open if each[0] == crowd)
        self._open.remove(oldest)
        oldest[1].cancel()
        return True


def _party_behind(stream: trio.SocketStream) -> str | None:
    """Return who is at the other side of a connection; None if it has ended."""
    try:
        return party_of(stream.socket.getpeername()[0])
    except OSError:
        return None


class _Server(TCPServer):
    """A server of HTTP/1.1 alone: over HTTP/2 one connection would have a hundred requests at once."""

    async def _read_data(self) -> None:
        self.protocol.protocol._check_protocol = _keep_protocol  # type: ignore[method-assign, union-attr]
        await super()._read_data()


async def _keep_protocol(_: object) -> None:
    """Answer a request for another protocol in this one."""


class _Watched:
    """A stream that says when its other side has ended: the server itself waits as long as for an idle one."""

    def __init__(self, stream: trio.SocketStream, *, on_end: Callable[[], None]) -> None:
        self.socket = stream.socket
        self.send_all = stream.send_all
        self.send_eof = stream.send_eof
        self.aclose = stream.aclose
        self._stream = stream
        self._on_end = on_end

    async def receive_some(self, most: int) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(most))
        except trio.BrokenResourceError:
            data = b""
        if not data:
            self._on_end()
        return data


async def _end(stream: trio.SocketStream) -> None:
    """Close the socket after a while or when cancelled: the server shields what it sends from cancellation."""
    try:
        await trio.sleep(_CONNECTION_SECONDS)
    finally:
        stream.socket.close()
