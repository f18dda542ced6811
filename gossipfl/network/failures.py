"""Stream failures, none of which delimits a message.

Internal to the package: what it raises to others is an error from `gossipfl.errors`.
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
    """The other side finished sending before the requested bytes had arrived."""


class StreamReset(StreamFailure):
    """Either side abandoned the stream."""


class ConnectionLost(StreamFailure):
    """The connection under the stream is gone."""


class ConnectionAborted(ConnectionLost):
    """The connection was dropped by this side on purpose; retrying immediately is pointless."""


class AnsweredEarly(StreamFailure):
    """The other side finished sending while this one was still writing, so its answer is already complete."""
