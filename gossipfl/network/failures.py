"""Ways in which a stream can end under its user; none of these delimits a message.

Internal to the package: what leaves it is an error of `gossipfl.errors`.
"""

from __future__ import annotations

__all__ = [
    "AnsweredEarly",
    "ConnectionAborted",
    "ConnectionLost",
    "StreamEnded",
    "StreamFailure",
    "StreamReset",
]


class StreamFailure(Exception):
    """A read or write on a stream cannot be completed."""


class StreamEnded(StreamFailure):
    """The other side finished sending before the bytes asked for had come."""


class StreamReset(StreamFailure):
    """The other side, or this one, gave the stream up."""


class ConnectionLost(StreamFailure):
    """The connection under the stream is gone."""


class ConnectionAborted(ConnectionLost):
    """The connection was dropped on purpose on this side; no use in trying again at once."""


class AnsweredEarly(StreamFailure):
    """The other side finished sending while this one was still writing: its answer will not change."""
