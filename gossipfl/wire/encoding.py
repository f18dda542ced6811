"""Encoding of messages as frames, which refer to a row's numbers without copying them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack
import xxhash
from torch import Tensor

from gossipfl.codecs import Codec, PayloadTensor
from gossipfl.errors import MessageTooLarge
from gossipfl.wire.body import body_buffers, checksum
from gossipfl.wire.carried import encode_carried
from gossipfl.wire.headers import Header
from gossipfl.wire.limits import Limits
from gossipfl.wire.messages import (
    OFFERED_BYTES,
    Acknowledgement,
    Clearance,
    ModelHeader,
    PartHeader,
    Pull,
    View,
)
from gossipfl.wire.news import News
from gossipfl.wire.preamble import KIND_OFFSET, VERSION, Kind, Preamble
from gossipfl.wire.refusals import Refusal
from gossipfl.wire.round_messages import Progress, RoundHeader, SumMessage

__all__ = ["Frame", "encode", "encode_model", "encode_round"]


@dataclass(slots=True)
class Frame:
    """A frame ready to be sent.

    Parameters
    ----------
    buffers : tuple of memoryview
        Preamble and header, then the parts of the body, which alias the encoded row's memory.
    on_release : callable, optional
        For a frame that is sent only once: called when it does not refer to the row any more.

    Attributes
    ----------
    size : int
        Length in bytes.
    """

    buffers: tuple[memoryview, ...]
    on_release: Callable[[], None] | None = field(default=None, compare=False, repr=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(buffer.nbytes for buffer in self.buffers)

    def __del__(self) -> None:
        self.release()

    @property
    def kind(self) -> Kind:
        """What it holds, as its preamble says."""
        return Kind(self.buffers[0][KIND_OFFSET])

    def release(self) -> None:
        """Let go of the row's memory, if the frame is sent only once."""
        if self.on_release is not None:
            self.buffers = self.buffers[:1]
            self.on_release()
            self.on_release = None

    @property
    def is_offered(self) -> bool:
        """Whether its body must wait for a clearance."""
        return self.size - self.buffers[0].nbytes > OFFERED_BYTES


def encode_model(
    row: Tensor,
    *,
    codec: Codec,
    key: int = 0,
    carried: Mapping[str, Tensor] | None = None,
    task: bytes,
    layout: bytes,
    age: int,
    incarnation: int,
    sequence: int,
    event: int,
    wants_answer: bool = False,
    part: int | None = None,
    ages: tuple[int, ...] = (),
    limits: Limits | None = None,
) -> Frame:
    """Encode a row, or a part of one.

    With float32 the frame aliases the row: pass a snapshot, or do not change the row until the frame has been
    written. A row that changes meanwhile fails its checksum at the receiver.

    Parameters
    ----------
    row : Tensor, shape [D], float32
        Or the numbers of the part, [K].
    codec : Codec
        A codec that the receiver reads.
    key : int, optional
        The only source of the codec's random draws.
    carried : mapping of str to Tensor, optional
        Further rows, float32 of shape [K], or [] for a single number.
    task, layout, age, incarnation, sequence, event, wants_answer
        As in `ModelHeader`.
    part, ages : optional
        As in `PartHeader`, for a part of a row.

    Raises
    ------
    NonFiniteUpdate
        The row holds NaN or an infinity, before or after encoding.
    UnexpectedTensor
        The row is not float32 of shape [D].
    MalformedFrame, MessageTooLarge
        Every receiver would refuse a field.
    """
    payload = (*codec.encode(row, key=key), *encode_carried(carried or {}, codec=codec, key=key))
    body = body_buffers(payload)
    about: dict[str, Any] = {
        "task": task,
        "layout": layout,
        "age": age,
        "incarnation": incarnation,
        "sequence": sequence,
        "event": event,
        "wants_answer": wants_answer,
        "codec": codec.name,
        "tensors": tuple(tensor.header for tensor in payload),
        "checksum": checksum(body),
    }
    header = ModelHeader(**about) if part is None else PartHeader(**about, part=part, ages=ages)
    return _framed(header, body, limits=limits)


def encode_round(
    payload: tuple[PayloadTensor, ...],
    *,
    codec: str,
    task: bytes,
    layout: bytes,
    agreement: bytes,
    incarnation: int,
    position: tuple[int, int],
    limits: Limits | None = None,
) -> Frame:
    """Frame an encoded row of a round; the frame aliases the payload.

    Parameters
    ----------
    codec : str
        Name of the codec that encoded it, which the receiver must read.
    task, layout, agreement, incarnation
        As in `RoundHeader`.
    position : tuple of two int
        The round, and the exchange within it.

    Raises
    ------
    MalformedFrame, MessageTooLarge
        Every receiver would refuse a field.
    """
    body = body_buffers(payload)
    header = RoundHeader(
        task=task,
        layout=layout,
        agreement=agreement,
        incarnation=incarnation,
        round=position[0],
        exchange=position[1],
        codec=codec,
        tensors=tuple(tensor.header for tensor in payload),
        checksum=checksum(body),
    )
    return _framed(header, body, limits=limits)


def encode(
    message: View | Refusal | Pull | Acknowledgement | Clearance | Progress | News | SumMessage,
    *,
    limits: Limits | None = None,
) -> Frame:
    """Encode a message without a body.

    Raises
    ------
    MalformedFrame, MessageTooLarge
        Every receiver would refuse a field.
    """
    return _framed(message, (), limits=limits)


def _framed(header: Header, body: tuple[memoryview, ...], *, limits: Limits | None) -> Frame:
    limits = limits or Limits()
    fields = header.to_fields()
    type(header).from_fields(fields, limits=limits)
    packed: bytes = msgpack.packb(fields, use_bin_type=True)
    if len(packed) > limits.header_bytes:
        raise MessageTooLarge(
            "the header is too long", expected=f"at most {limits.header_bytes} bytes", got=len(packed)
        )
    preamble = Preamble(
        version=VERSION,
        kind=header.kind,
        header_bytes=len(packed),
        header_checksum=xxhash.xxh32_intdigest(packed),
        body_bytes=sum(buffer.nbytes for buffer in body),
    )
    return Frame((memoryview(preamble.to_bytes() + packed), *body))
