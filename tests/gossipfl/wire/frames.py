"""Frames for the tests: honest ones, and dishonest ones whose checksums are right all the same."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import msgpack
import torch
import xxhash

from gossipfl.codecs import BFLOAT16, FLOAT16, FLOAT32
from gossipfl.errors import TruncatedFrame
from gossipfl.wire import AnyMessage, Expectation, ReceivedFrame, encode_model, frame_reader
from tests.gossipfl.codecs.sparse import LargestEntries

TASK, LAYOUT = bytes(range(32)), bytes(range(32, 64))
SPARSE = LargestEntries(3)
CODECS = (FLOAT32, BFLOAT16, FLOAT16, SPARSE)
SENDER = {"task": TASK, "layout": LAYOUT, "age": 90, "incarnation": 2, "sequence": 7, "event": 41}


def expectation(size: int) -> Expectation:
    return Expectation(task=TASK, layout=LAYOUT, size=size, codecs=CODECS)


def flat(frame) -> bytes:
    return b"".join(frame.buffers)


def model_frame(row, *, codec=FLOAT32, **changes) -> bytes:
    return flat(encode_model(row, codec=codec, **{**SENDER, **changes}))


def sealed(
    header: bytes, body: bytes = b"", *, kind=1, version=4, header_bytes=None, body_bytes=None, magic=b"GSFL"
):
    """A frame of any header and body, its header checksum right and its lengths right unless given."""
    return (
        struct.pack(
            "<4sHHIIQ",
            magic,
            version,
            kind,
            len(header) if header_bytes is None else header_bytes,
            xxhash.xxh32_intdigest(header),
            len(body) if body_bytes is None else body_bytes,
        )
        + header
        + body
    )


def model_fields(body: bytes, **changes) -> dict:
    fields = {
        **SENDER,
        "wants_answer": False,
        "codec": "float32",
        "tensors": [["row", "float32-le", [len(body) // 4]]],
        "checksum": xxhash.xxh3_64_intdigest(body),
        **changes,
    }
    return {key: value for key, value in fields.items() if value is not None}


def forged(body: bytes, *, preamble: dict | None = None, **changes) -> bytes:
    """A model frame with some fields changed (None: left out) and all checksums right."""
    return sealed(msgpack.packb(model_fields(body, **changes)), body, **(preamble or {}))


def numbers(*values: float) -> bytes:
    return torch.tensor(values, dtype=torch.float32).numpy().tobytes()


@dataclass
class Stream:
    """A stream that holds some bytes and then ends; it notes how much memory its reader set aside."""

    data: bytes
    position: int = 0
    asked: list[int] = field(default_factory=list)

    def fill(self, buffer: memoryview) -> None:
        self.asked.append(buffer.nbytes)
        part = self.data[self.position : self.position + buffer.nbytes]
        if len(part) < buffer.nbytes:
            raise TruncatedFrame("the stream ended inside a frame")
        buffer[:] = part
        self.position += len(part)


def received(stream: Stream, expects: Expectation, **options) -> ReceivedFrame:
    """Run the reader that the network runs over a stream."""
    reader = frame_reader(expects, **options)
    try:
        while True:
            stream.fill(next(reader))
    except StopIteration as whole:
        return whole.value


def decoded(data: bytes, expects: Expectation) -> AnyMessage:
    """The message of a frame, all of whose bytes are there."""
    return received(Stream(data), expects).message()
