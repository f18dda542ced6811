"""Layout of a payload's tensors in the body of a frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import xxhash

from gossipfl.codecs import PayloadTensor, TensorHeader
from gossipfl.errors import MalformedFrame

__all__ = [
    "ALIGNMENT",
    "allocate_body",
    "body_buffers",
    "body_bytes",
    "checksum",
    "room_before",
    "split_body",
]

#: Every tensor begins at a multiple of this many bytes, so that its elements can be read in place.
ALIGNMENT = 8


def allocate_body(size: int, room: int = 0) -> memoryview:
    """Allocate a writable, aligned buffer of `size` bytes, with `room` more before it: see `room_before`.

    Its pages are allocated only as they are written, so a size that a slow sender merely announces costs address
    space but no memory.
    """
    data: memoryview = torch.empty(room + size, dtype=torch.uint8).numpy().data
    return data[room:]


def room_before(body: memoryview) -> memoryview:
    """Return the whole memory whose end a body is, or the body itself if it is not the end of a writable array."""
    whole = body.obj
    if not isinstance(whole, np.ndarray) or body.readonly or whole.nbytes <= body.nbytes or not body.nbytes:
        return body
    is_end = np.frombuffer(body, np.uint8).ctypes.data + body.nbytes == whole.ctypes.data + whole.nbytes
    return whole.data if is_end else body


def body_bytes(tensors: Sequence[TensorHeader]) -> int:
    """Return the length of the body that holds these tensors, in bytes."""
    end = 0
    for start, tensor in _starts(tensors):
        end = start + tensor.nbytes
    return end


def body_buffers(tensors: Sequence[PayloadTensor]) -> tuple[memoryview, ...]:
    """Return the buffers that make up the body, in order."""
    buffers: list[memoryview] = []
    end = 0
    for (start, header), tensor in zip(_starts([each.header for each in tensors]), tensors, strict=True):
        if start > end:
            buffers.append(memoryview(bytes(start - end)))
        buffers.append(tensor.data)
        end = start + header.nbytes
    return tuple(buffers)


def split_body(tensors: Sequence[TensorHeader], body: memoryview) -> tuple[PayloadTensor, ...]:
    """Split a body of exactly the right length into its tensors, without copying.

    Raises
    ------
    MalformedFrame
        The bytes between two tensors are not zero.
    """
    payload: list[PayloadTensor] = []
    end = 0
    for start, header in _starts(tensors):
        if any(body[end:start]):
            raise MalformedFrame("the padding between two tensors is not zero")
        end = start + header.nbytes
        payload.append(PayloadTensor(header, body[start:end]))
    return tuple(payload)


def checksum(buffers: Sequence[memoryview]) -> int:
    """Return xxh3_64 (seed 0) of the concatenated buffers."""
    digest = xxhash.xxh3_64()
    for buffer in buffers:
        digest.update(buffer)
    return digest.intdigest()


def _starts(tensors: Sequence[TensorHeader]) -> Iterator[tuple[int, TensorHeader]]:
    end = 0
    for tensor in tensors:
        start = -(-end // ALIGNMENT) * ALIGNMENT
        yield start, tensor
        end = start + tensor.nbytes
