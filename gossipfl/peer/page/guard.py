"""Checks that every request to a page passes before its path is looked at.

Against DNS rebinding, the Host header must name this machine; against requests that other sites' pages make,
Origin and Sec-Fetch-Site must not name another site, but for a link that is followed; and every POST needs the
token of the home.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from typing import Final

import trio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gossipfl.errors import (
    GossipflError,
    HeadersTooLarge,
    HostNotAllowed,
    OriginNotAllowed,
    RequestRefused,
    RequestTimedOut,
    TokenMissing,
    TooManyRequests,
)
from gossipfl.peer.page.shares import Shares, party_of

__all__ = ["Guard", "refusal"]

logger = logging.getLogger(__name__)

_SECONDS: Final = 10.0
_MOST_SAID: Final = 500  # characters of what came
_MOST_REQUESTS: Final = 16
_HEADER_BYTES: Final = 16 * 1024
_READING: Final = frozenset({"GET", "HEAD"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """An application behind these checks, with a deadline and a limit on simultaneous requests.

    Parameters
    ----------
    app : ASGI application
    port : int or None
        At which it is served on this machine; None if other machines may read it under any name.
    token : str
    count : callable
        Called with the status code of each answer.
    shares : Shares, optional
        In which requests of other machines are counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        port: int | None,
        token: str,
        count: Callable[[int], None],
        shares: Shares | None = None,
    ) -> None:
        self._app = app
        self._shares = shares
        here = () if port is None else (f"{host}:{port}" for host in ("127.0.0.1", "localhost"))
        self._hosts = frozenset(here)
        self._token = token.encode()
        self._count = count
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        begun = False
        if self._shares is not None:
            await self._shares.take(party_of(scope["client"][0]) if scope.get("client") else "")

        async def guarded_send(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._count(message["status"])
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            self._check(scope)
            self._under_way += 1
            try:
                with trio.move_on_after(_SECONDS) as deadline:
                    await self._app(scope, receive, guarded_send)
            finally:
                self._under_way -= 1
            if deadline.cancelled_caught:
                raise RequestTimedOut(
                    "the request was not answered in time", expected=f"within {_SECONDS:g} s"
                )
        except RequestRefused as error:
            if not begun:
                await refusal(error)(scope, receive, guarded_send)

    def _check(self, scope: Scope) -> None:
        size = sum(len(name) + len(value) for name, value in scope["headers"])
        if size > _HEADER_BYTES:
            raise HeadersTooLarge(
                "the headers are too large", expected=f"at most {_HEADER_BYTES} bytes", got=size
            )
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts and (len(headers.getlist("host")) != 1 or host.lower() not in self._hosts):
            raise HostNotAllowed(
                "the request names another host",
                expected=" or ".join(sorted(self._hosts)),
                got=repr(host[:80]),
            )
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {f"http://{each}" for each in self._hosts}:
            raise OriginNotAllowed("the request comes from another site", got=repr(origin[:80]))
        reads = scope["method"] in _READING
        follows_a_link = reads and headers.get("sec-fetch-mode") == "navigate"
        site = headers.get("sec-fetch-site", "none")
        if site not in _OWN_SITES and not follows_a_link:
            raise OriginNotAllowed("the request comes from another site", got=repr(site[:80]))
        if not reads:
            given = headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, b"Bearer " + self._token):
                raise TokenMissing(
                    "the token is missing or wrong",
                    expected="a header Authorization: Bearer TOKEN",
                    got="another one" if given else "no such header",
                    remedy="It is in the file page.token of the peer's home.",
                )
        if self._under_way >= _MOST_REQUESTS:
            raise TooManyRequests(
                "too many requests at once", expected=f"at most {_MOST_REQUESTS}", got=self._under_way + 1
            )


def refusal(error: GossipflError) -> JSONResponse:
    """Return an error as JSON: its name, what was expected and got, and what to do."""
    status = error.status if isinstance(error, RequestRefused) else 409
    said = {
        "name": error.counter(),
        "message": error.what,
        "expected": None if error.expected is None else str(error.expected),
        "got": None if error.got is None else str(error.got)[:_MOST_SAID],
        "remedy": error.remedy,
    }
    return JSONResponse({"error": said}, status_code=status)
