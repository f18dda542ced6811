"""Encoding and decoding of messages, without sockets or an event loop; see ``docs/wire-protocol.md``.

This package cannot import anything that holds training data, so no code here can send it.

The names below are imported on first use, so that peers and statements can be named without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from topology.lazy import lazy_attributes

if TYPE_CHECKING:
    from gossipfl.wire.announcements import PeerDescriptor, announce, is_signed
    from gossipfl.wire.body import allocate_body
    from gossipfl.wire.carried import CarriedRow
    from gossipfl.wire.decoding import AnyHeader, AnyMessage, check, decode_body, decoded_bytes, parse_header
    from gossipfl.wire.encoding import Frame, encode, encode_model, encode_round
    from gossipfl.wire.expectation import Expectation, PartForm, RoundForm, RoundsExpectation, row_bytes
    from gossipfl.wire.limits import Limits
    from gossipfl.wire.messages import (
        OFFERED_BYTES,
        Acknowledgement,
        Clearance,
        ModelHeader,
        ModelMessage,
        PartHeader,
        Pull,
        View,
    )
    from gossipfl.wire.news import News
    from gossipfl.wire.preamble import (
        ALL_KINDS,
        MAGIC,
        PREAMBLE_BYTES,
        VERSION,
        Kind,
        Preamble,
        parse_preamble,
    )
    from gossipfl.wire.reading import ReceivedFrame, frame_reader
    from gossipfl.wire.refusals import Refusal
    from gossipfl.wire.replay_guard import ReplayGuard
    from gossipfl.wire.round_messages import Progress, RoundHeader, RoundMessage, SumMessage, SumStep

__all__ = [
    "ALL_KINDS",
    "MAGIC",
    "OFFERED_BYTES",
    "PREAMBLE_BYTES",
    "VERSION",
    "Acknowledgement",
    "AnyHeader",
    "AnyMessage",
    "CarriedRow",
    "Clearance",
    "Expectation",
    "Frame",
    "Kind",
    "Limits",
    "ModelHeader",
    "ModelMessage",
    "News",
    "PartForm",
    "PartHeader",
    "PeerDescriptor",
    "Preamble",
    "Progress",
    "Pull",
    "ReceivedFrame",
    "Refusal",
    "ReplayGuard",
    "RoundForm",
    "RoundHeader",
    "RoundMessage",
    "RoundsExpectation",
    "SumMessage",
    "SumStep",
    "View",
    "allocate_body",
    "announce",
    "check",
    "decode_body",
    "decoded_bytes",
    "encode",
    "encode_model",
    "encode_round",
    "frame_reader",
    "is_signed",
    "parse_header",
    "parse_preamble",
    "row_bytes",
]

_NAMES = {
    "announcements": ["PeerDescriptor", "announce", "is_signed"],
    "body": ["allocate_body"],
    "carried": ["CarriedRow"],
    "decoding": ["AnyHeader", "AnyMessage", "check", "decode_body", "decoded_bytes", "parse_header"],
    "encoding": ["Frame", "encode", "encode_model", "encode_round"],
    "expectation": ["Expectation", "PartForm", "RoundForm", "RoundsExpectation", "row_bytes"],
    "limits": ["Limits"],
    "messages": [
        "Acknowledgement",
        "Clearance",
        "ModelHeader",
        "ModelMessage",
        "OFFERED_BYTES",
        "PartHeader",
        "Pull",
        "View",
    ],
    "news": ["News"],
    "preamble": ["ALL_KINDS", "Kind", "MAGIC", "PREAMBLE_BYTES", "Preamble", "VERSION", "parse_preamble"],
    "reading": ["ReceivedFrame", "frame_reader"],
    "refusals": ["Refusal"],
    "replay_guard": ["ReplayGuard"],
    "round_messages": ["Progress", "RoundHeader", "RoundMessage", "SumMessage", "SumStep"],
}

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {name: f"gossipfl.wire.{module}" for module, names in _NAMES.items() for name in names},
)
