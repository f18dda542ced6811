"""The exchange protocol: its name, and the kinds of frames that open and answer an exchange."""

from __future__ import annotations

from typing import Final

from gossipfl.wire import Kind

__all__ = ["EXCHANGE_PROTOCOL", "REPLIES", "REQUESTS"]

EXCHANGE_PROTOCOL: Final = "/gossipfl/exchange/1.0.0"

REQUESTS: Final = frozenset({Kind.MODEL, Kind.VIEW, Kind.ROUND, Kind.PROGRESS, Kind.NEWS})
REPLIES: Final = frozenset(
    {Kind.MODEL, Kind.ACKNOWLEDGEMENT, Kind.VIEW, Kind.REFUSAL, Kind.PROGRESS, Kind.NEWS}
)
