"""Refusals of HTTP requests."""

from __future__ import annotations

from typing import ClassVar

from gossipfl.errors.root import GossipflError

__all__ = [
    "HeadersTooLarge",
    "HostNotAllowed",
    "InvalidRequest",
    "MethodNotAllowed",
    "OriginNotAllowed",
    "PathUnknown",
    "RequestRefused",
    "RequestTimedOut",
    "RequestTooLarge",
    "TokenMissing",
    "TooManyRequests",
]


class RequestRefused(GossipflError):
    """A request to a peer's page was refused."""

    status: ClassVar[int] = 400


class InvalidRequest(RequestRefused):
    """A request is not of the form that its path takes."""


class TokenMissing(RequestRefused):
    """A request that needs the token of the home has none, or a wrong one."""

    status = 401


class OriginNotAllowed(RequestRefused):
    """A request comes from a page of another site."""

    status = 403


class PathUnknown(RequestRefused):
    """A request names a path that is not served."""

    status = 404


class MethodNotAllowed(RequestRefused):
    """A path is not served by this method."""

    status = 405


class RequestTooLarge(RequestRefused):
    """The body of a request has too many bytes."""

    status = 413


class HeadersTooLarge(RequestRefused):
    """The headers of a request have too many bytes."""

    status = 431


class HostNotAllowed(RequestRefused):
    """A request names another host than this one, as after DNS rebinding."""

    status = 421


class TooManyRequests(RequestRefused):
    """As many requests as may be are being answered."""

    status = 503


class RequestTimedOut(RequestRefused):
    """A request was not answered in time."""

    status = 503
