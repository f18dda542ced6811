"""Stages of decoding after the preamble: the header, the checks on it, and the body.

`frame_reader` runs them in order. For any bytes whatsoever, each stage returns a valid result or raises a
`MessageRefused`.
"""

from __future__ import annotations

import msgpack
import torch
import xxhash

from gossipfl.codecs import FLOAT32, Codec, DenseCodec, is_finite, require_admitted, tensor_of
from gossipfl.errors import (
    ChecksumMismatch,
    IncompatibleModel,
    IncompatibleRounds,
    IncompatibleTask,
    MalformedFrame,
    MessageTooLarge,
    NonFiniteUpdate,
    TruncatedFrame,
    UnexpectedRound,
    UnexpectedTensor,
)
from gossipfl.fingerprints import differing_parts
from gossipfl.wire.body import ALIGNMENT, body_bytes, checksum, room_before, split_body
from gossipfl.wire.carried import decode_carried, expected_carried
from gossipfl.wire.expectation import Expectation, codec_among
from gossipfl.wire.limits import Limits
from gossipfl.wire.messages import (
    Acknowledgement,
    Clearance,
    ModelHeader,
    ModelMessage,
    PartHeader,
    Pull,
    View,
)
from gossipfl.wire.news import News
from gossipfl.wire.preamble import Kind, Preamble
from gossipfl.wire.refusals import Refusal
from gossipfl.wire.round_messages import Progress, RoundHeader, RoundMessage, SumMessage

__all__ = [
    "AnyHeader",
    "AnyMessage",
    "check",
    "decode_body",
    "decoded_bytes",
    "parse_header",
    "room_bytes",
]

_Bodiless = Pull | View | Refusal | Acknowledgement | Clearance | Progress | News | SumMessage
AnyHeader = ModelHeader | RoundHeader | _Bodiless
AnyMessage = ModelMessage | RoundMessage | _Bodiless

_BODILESS = (Pull, View, Refusal, Acknowledgement, Clearance, Progress, News, SumMessage)
_HEADERS: dict[Kind, type[AnyHeader]] = {
    each.kind: each for each in (ModelHeader, PartHeader, RoundHeader, *_BODILESS)
}


_ANOTHER_TASK = 8  # parts
_OF_A_TASK = ModelHeader | Pull | RoundHeader | View | Progress


def parse_header(data: bytes | bytearray | memoryview, preamble: Preamble, *, limits: Limits) -> AnyHeader:
    """Read a header of ``preamble.header_bytes`` bytes.

    Raises
    ------
    TruncatedFrame, ChecksumMismatch, MalformedFrame, MessageTooLarge
    """
    if len(data) != preamble.header_bytes:
        raise TruncatedFrame("the header is incomplete", expected=preamble.header_bytes, got=len(data))
    if xxhash.xxh32_intdigest(data) != preamble.header_checksum:
        raise ChecksumMismatch("the header is damaged")
    return _HEADERS[preamble.kind].from_fields(_unpacked(data, limits), limits=limits)


def check(header: AnyHeader, preamble: Preamble, expectation: Expectation) -> int:
    """Check everything that can be checked before the body is read, and return the body's length in bytes.

    Raises
    ------
    IncompatibleTask, IncompatibleModel, IncompatibleRounds, UnexpectedRound, UnknownCodec, UnexpectedTensor,
    MessageTooLarge, MalformedFrame
    """
    if isinstance(header, _OF_A_TASK) and header.task != expectation.task:
        raise IncompatibleTask(
            f"the sender learns a different task: {_difference(expectation.task, header.task)}",
            remedy="Both peers must run the same task, with the same version and initial seed.",
        )
    if isinstance(header, ModelHeader | Pull | RoundHeader | Progress | SumMessage):
        _require_same_rounds(header, expectation)
    if not isinstance(header, ModelHeader | Pull | RoundHeader):
        return 0
    if header.layout != expectation.layout:
        raise IncompatibleModel(
            "the sender's model has a different layout",
            remedy="Both peers must build the same model, share the same parameters and run the same algorithm.",
        )
    if isinstance(header, ModelHeader | Pull):
        _require_same_parts(header, expectation)
    if isinstance(header, Pull):
        return 0
    codec, size = _form(header, expectation)
    further = expected_carried(expectation.carried, codec) if isinstance(header, ModelHeader) else ()
    require_admitted(header.tensors, (*codec.expected(size), *further))
    exact = body_bytes(header.tensors)
    if preamble.body_bytes > exact:
        raise MessageTooLarge("the body is too long", expected=f"{exact} bytes", got=preamble.body_bytes)
    if preamble.body_bytes < exact:
        raise MalformedFrame("the body is too short", expected=f"{exact} bytes", got=preamble.body_bytes)
    return exact


def _difference(own: bytes, theirs: bytes) -> str:
    parts = differing_parts(own, theirs)
    if len(parts) >= _ANOTHER_TASK:
        return "almost everything differs, as with another model, or another version of gossipfl"
    return f"{', '.join(parts)} differs" if parts else "one part differs, and their digests do not tell which"


def decoded_bytes(header: AnyHeader, expectation: Expectation) -> int:
    """Return the memory that decoding takes beside the body: none for float32, the room before it for 16 bits."""
    if not isinstance(header, ModelHeader | RoundHeader):
        return 0
    codec, size = _form(header, expectation)
    if codec is FLOAT32:
        return 0
    further = expectation.carried if isinstance(header, ModelHeader) else ()
    row = room_bytes(header, expectation) if isinstance(codec, DenseCodec) else FLOAT32.payload_bytes(size)
    return row + FLOAT32.payload_bytes(sum(each.numbers for each in further))


def room_bytes(header: AnyHeader, expectation: Expectation) -> int:
    """Return how many bytes before the body let its row be decoded in place."""
    if not isinstance(header, ModelHeader | RoundHeader):
        return 0
    codec, size = _form(header, expectation)
    room = codec.room_bytes(size) if isinstance(codec, DenseCodec) else 0
    return -(-room // ALIGNMENT) * ALIGNMENT


def decode_body(
    header: ModelHeader | RoundHeader, body: memoryview, expectation: Expectation
) -> ModelMessage | RoundMessage:
    """Decode the body of a message with a row. Takes time linear in its length: use a thread for large ones.

    Parameters
    ----------
    header : ModelHeader or RoundHeader
        A header accepted by `check`.
    body : memoryview, of the length that `check` returned
        If writable and aligned, as from `allocate_body`, float32 is not copied and the row aliases it. With
        `room_bytes` before it, rows of 16 bits are decoded in place, and the body is overwritten.

    Raises
    ------
    TruncatedFrame, ChecksumMismatch, MalformedFrame, UnexpectedTensor, NonFiniteUpdate
    """
    exact = body_bytes(header.tensors)
    if body.nbytes != exact:
        raise TruncatedFrame("the body is incomplete", expected=f"{exact} bytes", got=body.nbytes)
    if checksum([body]) != header.checksum:
        raise ChecksumMismatch("the body is damaged, or changed while it was being sent")
    payload = split_body(header.tensors, body)
    codec, size = _form(header, expectation)
    if isinstance(header, PartHeader) and expectation.parts is not None:
        exact = expectation.parts.size_of(header.part)
        if size != exact:
            raise UnexpectedTensor(f"part {header.part} has another size", expected=exact, got=size)
    first = len(codec.expected(size))
    whole, room = room_before(body), room_bytes(header, expectation)
    if isinstance(codec, DenseCodec) and room and whole.nbytes == room + body.nbytes:
        row = codec.expand(tensor_of(payload[0]), torch.frombuffer(whole, dtype=torch.uint8))
    else:
        row = codec.decode(payload[:first], size)
    if not is_finite(row):
        raise NonFiniteUpdate(
            "the row holds NaN or an infinity",
            remedy="The sender's training has diverged; it should not send.",
        )
    if isinstance(header, RoundHeader):
        return RoundMessage(header=header, row=row)
    carried = decode_carried(expectation.carried, payload[first:], codec)
    return ModelMessage(header=header, row=row, carried=carried)


def _require_same_rounds(
    header: ModelHeader | Pull | RoundHeader | Progress | SumMessage, expectation: Expectation
) -> None:
    rounds = expectation.rounds
    if isinstance(header, ModelHeader | Pull):
        if rounds is None:
            return
        what, remedy = "this peer learns in rounds, and the sender gossips", "Run both the same way."
    elif rounds is None:
        what, remedy = "this peer gossips, and the sender learns in rounds", "Run both the same way."
    elif header.agreement != rounds.agreement:
        what = "the sender learns in different rounds"
        remedy = "All peers must have the same roster, algorithm, topology, codec and seed of rounds."
    else:
        return
    raise IncompatibleRounds(what, remedy=remedy)


def _require_same_parts(header: ModelHeader | Pull, expectation: Expectation) -> None:
    """Require a part of a row where parts are sent, and a whole row elsewhere."""
    form = expectation.parts
    is_right = header.part == 0 if isinstance(header, Pull) else not isinstance(header, PartHeader)
    if form is not None:
        is_right = isinstance(header, PartHeader | Pull) and header.part < form.count
    if not is_right:
        raise IncompatibleModel(
            "the sender's models are divided otherwise",
            remedy="Both peers must have the same gossip.sharing.",
        )
    if isinstance(header, PartHeader) and form is not None:
        if len(header.ages) != form.ages or header.age != max(header.ages):
            raise MalformedFrame(
                "the ages are wrong",
                expected=f"{form.ages}, the largest of them {header.age}",
                got=f"{len(header.ages)}, the largest of them {max(header.ages, default='none')}",
            )
        if not form.least <= _part_size(header) <= form.most:
            raise UnexpectedTensor(
                "the part has another size",
                expected=f"{form.least} to {form.most} numbers",
                got=_part_size(header),
            )


def _part_size(header: PartHeader) -> int:
    """Numbers of a part, as its first tensor says."""
    return header.tensors[0].shape[0] if header.tensors and header.tensors[0].shape else -1


def _form(header: ModelHeader | RoundHeader, expectation: Expectation) -> tuple[Codec, int]:
    """Return the codec and the length of the row."""
    if isinstance(header, PartHeader):
        return codec_among({FLOAT32.name: FLOAT32}, header.codec), _part_size(header)
    if isinstance(header, ModelHeader):
        return expectation.codec(header.codec), expectation.size
    forms = () if expectation.rounds is None else expectation.rounds.forms
    if header.exchange >= len(forms):
        raise UnexpectedRound(
            "a round has no such exchange", expected=f"a number below {len(forms)}", got=header.exchange
        )
    form = forms[header.exchange]
    return codec_among({each.name: each for each in form.codecs}, header.codec), form.size


def _unpacked(data: bytes | bytearray | memoryview, limits: Limits) -> object:
    """Unpack msgpack with every limit set, since arrays are allocated at their claimed length."""

    def unique(pairs: list[tuple[object, object]]) -> dict[object, object]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise ValueError("a key is repeated")
        return fields

    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=unique,
            max_str_len=limits.string_length,
            max_bin_len=limits.statement_bytes,
            max_array_len=limits.array_length,
            max_map_len=16,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        if "exceeds max_" in str(error):
            raise MessageTooLarge("a part of the header is too long", got=str(error)[:80]) from error
        raise MalformedFrame("the header is not a valid msgpack map", got=type(error).__name__) from error
