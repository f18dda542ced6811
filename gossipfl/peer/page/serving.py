"""Serving of ASGI applications with limits on connections: the page on 127.0.0.1, metrics elsewhere."""

from __future__ import annotations

import logging
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


async def serve(app: ASGIApp, listener: trio.SocketListener) -> None:
    """Answer requests until cancelled.

    Connections beyond a limit are closed at once. A connection lives for ten minutes at most, and fifteen seconds
    without a byte.
    """
    connections = _Connections(app)
    await trio.serve_listeners(connections.handle, [listener])


class _Connections:
    def __init__(self, app: ASGIApp) -> None:
        self._app = ASGIWrapper(app)  # type: ignore[arg-type]
        self._context = WorkerContext(None)
        self._config = config = Config()
        config.errorlog = logger
        config.loglevel = "WARNING"
        config.h11_max_incomplete_size = _HEADER_BYTES
        config.keep_alive_timeout = config.read_timeout = _IDLE_SECONDS  # type: ignore[assignment]
        config.include_server_header = False
        self._open = 0

    async def handle(self, stream: trio.SocketStream) -> None:
        if self._open >= _MOST_CONNECTIONS:
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end, stream)
                watched = _Watched(stream, on_end=nursery.cancel_scope.cancel)
                with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                    await TCPServer(self._app, self._config, self._context, {}, watched)  # type: ignore[arg-type]
                nursery.cancel_scope.cancel()
        except* Exception:  # a bug in the server of one request must not end the peer
            logger.exception("a connection to the page failed")
        finally:
            self._open -= 1


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
