"""Messages to bytes and back, with no socket and no event loop; see ``docs/wire-protocol.md``.

Nothing here can import modules that hold training data: that raw data never leaves follows from the imports.
"""

from gossipfl.wire.announcements import announce, is_signed
from gossipfl.wire.body import allocate_body
from gossipfl.wire.carried import CarriedRow
from gossipfl.wire.decode import AnyHeader, AnyMessage, check, decode_body, parse_header
from gossipfl.wire.encode import Frame, encode, encode_model, encode_round
from gossipfl.wire.expectation import Expectation, RoundForm, RoundsExpectation
from gossipfl.wire.limits import Limits
from gossipfl.wire.messages import Acknowledgement, ModelHeader, ModelMessage, PeerDescriptor, View
from gossipfl.wire.news import News
from gossipfl.wire.preamble import ALL_KINDS, MAGIC, PREAMBLE_BYTES, Kind, Preamble, parse_preamble
from gossipfl.wire.reading import ReceivedFrame, frame_reader
from gossipfl.wire.refusals import Refusal
from gossipfl.wire.replay_guard import ReplayGuard
from gossipfl.wire.round_messages import Progress, RoundHeader, RoundMessage
from gossipfl.wire.versions import SPOKEN, VersionRange

__all__ = [
    "ALL_KINDS",
    "MAGIC",
    "PREAMBLE_BYTES",
    "SPOKEN",
    "Acknowledgement",
    "AnyHeader",
    "AnyMessage",
    "CarriedRow",
    "Expectation",
    "Frame",
    "Kind",
    "Limits",
    "ModelHeader",
    "ModelMessage",
    "News",
    "PeerDescriptor",
    "Preamble",
    "Progress",
    "ReceivedFrame",
    "Refusal",
    "ReplayGuard",
    "RoundForm",
    "RoundHeader",
    "RoundMessage",
    "RoundsExpectation",
    "VersionRange",
    "View",
    "allocate_body",
    "announce",
    "check",
    "decode_body",
    "encode",
    "encode_model",
    "encode_round",
    "frame_reader",
    "is_signed",
    "parse_header",
    "parse_preamble",
]
