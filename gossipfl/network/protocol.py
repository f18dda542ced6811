"""The exchange protocol: its name, the kinds of frames that open an exchange, and those that answer each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gossipfl.wire import Kind

__all__ = ["EXCHANGE_PROTOCOL", "REPLIES", "REQUESTS", "RESUME_ANSWER_PROTOCOL", "RESUME_PROTOCOL"]

EXCHANGE_PROTOCOL: Final = "/gossipfl/exchange/1.0.0"
#: One exchange, whose request is continued where a broken connection cut it off.
RESUME_PROTOCOL: Final = "/gossipfl/resume/1.0.0"
#: The rest of one answer.
RESUME_ANSWER_PROTOCOL: Final = "/gossipfl/resume-answer/1.0.0"

_MODEL_OR_NONE: Final = frozenset({Kind.MODEL, Kind.PART, Kind.ACKNOWLEDGEMENT, Kind.CLEARANCE, Kind.REFUSAL})

REPLIES: Final[Mapping[Kind, frozenset[Kind]]] = {
    Kind.MODEL: _MODEL_OR_NONE,
    Kind.PART: _MODEL_OR_NONE,
    Kind.PULL: _MODEL_OR_NONE,
    Kind.VIEW: frozenset({Kind.VIEW, Kind.REFUSAL}),
    Kind.ROUND: frozenset({Kind.PROGRESS, Kind.CLEARANCE, Kind.REFUSAL}),
    Kind.PROGRESS: frozenset({Kind.PROGRESS, Kind.REFUSAL}),
    Kind.NEWS: frozenset({Kind.NEWS, Kind.REFUSAL}),
    Kind.SUM: frozenset({Kind.SUM, Kind.REFUSAL}),
}
REQUESTS: Final = frozenset(REPLIES)
