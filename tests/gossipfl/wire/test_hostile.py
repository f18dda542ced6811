"""Each hostile input meets its named error, before anything is allocated for it."""

import math
import struct
import tracemalloc

import msgpack
import pytest
import torch
import xxhash

from gossipfl.errors import (
    ChecksumMismatch,
    IncompatibleModel,
    IncompatibleTask,
    MalformedFrame,
    MessageRefused,
    MessageTooLarge,
    NonFiniteUpdate,
    ReplayedMessage,
    TruncatedFrame,
    UnexpectedTensor,
    UnknownCodec,
    UnsupportedVersion,
)
from gossipfl.wire import (
    PREAMBLE_BYTES,
    Expectation,
    Kind,
    Refusal,
    ReplayGuard,
    View,
    encode,
)
from tests.gossipfl.wire.frames import (
    CODECS,
    LAYOUT,
    SPARSE,
    TASK,
    Stream,
    decoded,
    expectation,
    flat,
    forged,
    model_fields,
    model_frame,
    numbers,
    received,
    sealed,
)

ROW = torch.arange(4.0)
BODY = numbers(0, 1, 2, 3)
GOOD = model_frame(ROW)
HEADER_END = len(GOOD) - len(BODY)


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


def view(peers, *, task=TASK, observed=""):
    return sealed(msgpack.packb({"task": task, "peers": peers, "observed": observed}), kind=3)


def entry(peer_id, addresses=(), *, age=0, sequence=1, signature=bytes(64)):
    return [peer_id, list(addresses), age, sequence, signature]


def refusal(code, text):
    return sealed(msgpack.packb({"code": code, "text": text}), kind=4)


def sparse(indices, values, *, padding=b"", claimed=None):
    first = struct.pack(f"<{len(indices)}i", *indices)
    gap = padding or bytes(-len(first) % 8)
    body = first + gap + numbers(*values)
    tensors = claimed or [["indices", "int32-le", [len(indices)]], ["values", "float32-le", [len(values)]]]
    return forged(body, codec=SPARSE.name, tensors=tensors)


TWICE = msgpack.packb(model_fields(BODY))[1:] + msgpack.packb("age") + msgpack.packb(5)


def pull(*, body=b"", **changes) -> bytes:
    said = {"task": TASK, "layout": LAYOUT, "incarnation": 1, "part": 0, **changes}
    return sealed(msgpack.packb(said), body, kind=9)


HOSTILE = {
    # the preamble
    "nothing": (b"", TruncatedFrame),
    "random bytes": (bytes(range(7, 107)), MalformedFrame),
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: example\r\n\r\n", MalformedFrame),
    "a part of the preamble": (GOOD[:20], TruncatedFrame),
    "no header": (GOOD[:PREAMBLE_BYTES], TruncatedFrame),
    "a part of the header": (GOOD[: HEADER_END - 1], TruncatedFrame),
    "no body": (GOOD[:HEADER_END], TruncatedFrame),
    "a part of the body": (GOOD[:-1], TruncatedFrame),
    "version 0": (sealed(b"", version=0), UnsupportedVersion),
    "version 1": (sealed(b"", version=1), UnsupportedVersion),
    "version 2": (sealed(b"", version=2), UnsupportedVersion),
    "version 3": (sealed(b"", version=3), UnsupportedVersion),
    "version 5": (sealed(b"", version=5), UnsupportedVersion),
    "kind 0": (sealed(b"", kind=0), MalformedFrame),
    "kind 7": (sealed(b"", kind=7), MalformedFrame),
    "giant header length": (sealed(b"", header_bytes=2**32 - 1), MessageTooLarge),
    "header length one above the limit": (sealed(b"", header_bytes=65_537), MessageTooLarge),
    "giant body length": (forged(BODY, preamble={"body_bytes": 2**64 - 1}), MessageTooLarge),
    "body length one above one's own": (forged(BODY, preamble={"body_bytes": 17}), MessageTooLarge),
    "body length one below one's own": (forged(BODY, preamble={"body_bytes": 15}), MalformedFrame),
    "a view with a body": (sealed(msgpack.packb({"task": TASK, "peers": []}), b"x", kind=3), MessageTooLarge),
    # the header as msgpack
    "damaged header": (flipped(GOOD, 40), ChecksumMismatch),
    "empty header": (sealed(b""), MalformedFrame),
    "no msgpack": (sealed(b"\xc1" * 50), MalformedFrame),
    "no map": (sealed(msgpack.packb([1, 2])), MalformedFrame),
    "bytes after the map": (sealed(msgpack.packb(model_fields(BODY)) + b"\x00", BODY), MalformedFrame),
    "text that is no UTF-8": (sealed(b"\x81\xa3age\xa2\xff\xfe"), MalformedFrame),
    "giant array": (sealed(b"\x81\xa7tensors\xdd\xff\xff\xff\xff"), MessageTooLarge),
    "nested giant arrays": (sealed(b"\x81\xa7tensors" + b"\xdc\xff\xff" * 500), MessageTooLarge),
    # Each claims no more elements than the header has bytes, so msgpack itself sees nothing wrong.
    "nested long arrays": (sealed(b"\x81\xa7tensors" + b"\xdc\xea\x60" * 20_000), MessageTooLarge),
    "deeply nested arrays": (sealed(b"\x91" * 60_000), MalformedFrame),
    "giant string": (sealed(b"\x81\xa5codec\xdb\xff\xff\xff\xff"), MalformedFrame),
    "giant binary": (sealed(b"\x81\xa4task\xc6\xff\xff\xff\xff"), MalformedFrame),
    "long string": (forged(BODY, codec="z" * 60_000), MessageTooLarge),
    "giant map": (sealed(b"\xdf\xff\xff\xff\xff"), MessageTooLarge),
    "giant extension": (sealed(b"\x81\xa3age\xc9\xff\xff\xff\xff\x07"), MessageTooLarge),
    "timestamp": (forged(BODY, age=msgpack.Timestamp(5)), MessageTooLarge),
    "extension": (forged(BODY, age=msgpack.ExtType(7, b"")), MalformedFrame),
    "a key twice": (sealed(b"\x8b" + TWICE, BODY), MalformedFrame),
    "keys that are arrays": (sealed(b"\x81\x91\x01\x02"), MalformedFrame),
    # the header's fields
    "a key missing": (forged(BODY, age=None), MalformedFrame),
    "a key too many": (forged(BODY, extra=1), MalformedFrame),
    "negative age": (forged(BODY, age=-1), MalformedFrame),
    "age of 2^63": (forged(BODY, age=2**63), MalformedFrame),
    "age that is NaN": (forged(BODY, age=math.nan), MalformedFrame),
    "age that is true": (forged(BODY, age=True), MalformedFrame),
    "age that is text": (forged(BODY, age="12"), MalformedFrame),
    "wants_answer that is 1": (forged(BODY, wants_answer=1), MalformedFrame),
    "short fingerprint": (forged(BODY, task=TASK[:31]), MalformedFrame),
    "fingerprint as text": (forged(BODY, task="a" * 32), MalformedFrame),
    "other task": (forged(BODY, task=bytes(32)), IncompatibleTask),
    "other layout": (forged(BODY, layout=bytes(32)), IncompatibleModel),
    "unknown codec": (forged(BODY, codec="zip"), UnknownCodec),
    "codec of 65 letters": (forged(BODY, codec="z" * 65), MessageTooLarge),
    "codec with a path": (forged(BODY, codec="../../etc/passwd"), MalformedFrame),
    # the tensor table
    "no tensor": (forged(BODY, tensors=[]), UnexpectedTensor),
    "a tensor too many": (forged(BODY, tensors=[["row", "float32-le", [4]]] * 2), UnexpectedTensor),
    "giant tensor count": (forged(BODY, tensors=[["row", "float32-le", [4]]] * 17), MessageTooLarge),
    "giant tensor": (forged(BODY, tensors=[["row", "float32-le", [2**62]]]), UnexpectedTensor),
    "negative dimension": (forged(BODY, tensors=[["row", "float32-le", [-4]]]), MalformedFrame),
    "other dtype": (forged(BODY, tensors=[["row", "int32-le", [4]]]), UnexpectedTensor),
    "dtype of the other byte order": (forged(BODY, tensors=[["row", "float32-be", [4]]]), UnexpectedTensor),
    "other shape": (forged(BODY, tensors=[["row", "float32-le", [2, 2]]]), UnexpectedTensor),
    "too many dimensions": (forged(BODY, tensors=[["row", "float32-le", [1] * 9]]), MessageTooLarge),
    "other name": (forged(BODY, tensors=[["rows", "float32-le", [4]]]), UnexpectedTensor),
    "tensor without shape": (forged(BODY, tensors=[["row", "float32-le"]]), MalformedFrame),
    "codec and dtype that differ": (forged(BODY, codec="bfloat16"), UnexpectedTensor),
    # the body
    "damaged body": (flipped(GOOD, HEADER_END + 5), ChecksumMismatch),
    "NaN": (forged(numbers(0, math.nan, 0, 0)), NonFiniteUpdate),
    "infinity": (forged(numbers(0, 0, 0, math.inf)), NonFiniteUpdate),
    "minus infinity": (forged(numbers(-math.inf, 0, 0, 0)), NonFiniteUpdate),
    "half-precision NaN": (
        forged(b"\x00\x00\x00\x00\x00\x00\x00\x7e", codec="float16", tensors=[["row", "float16-le", [4]]]),
        NonFiniteUpdate,
    ),
    "sparse: index above the row": (sparse([0, 4], [1, 1]), UnexpectedTensor),
    "sparse: negative index": (sparse([-1, 0], [1, 1]), UnexpectedTensor),
    "sparse: more values than indices": (sparse([0, 1], [1, 1, 1]), UnexpectedTensor),
    "sparse: more entries than agreed": (sparse([0, 1, 2, 3], [1, 1, 1, 1]), UnexpectedTensor),
    "sparse: data between tensors": (sparse([1], [1], padding=b"\0\0\0\1"), MalformedFrame),
    # other kinds
    "view of another task": (view([], task=bytes(32)), IncompatibleTask),
    "view of too many peers": (view([entry("A" * n) for n in range(1, 66)]), MessageTooLarge),
    "view of too many addresses": (view([entry("A", ["/a"] * 9)]), MessageTooLarge),
    "view of a peer twice": (view([entry("A"), entry("A", age=1)]), MalformedFrame),
    "view with a long address": (view([entry("A", ["/" + "a" * 200])]), MessageTooLarge),
    "view with a line break in an address": (view([entry("A", ["/ip4/1.2.3.4\n"])]), MalformedFrame),
    "view with no peer id": (view([entry("")]), MalformedFrame),
    "view with a wrong peer id": (view([entry("0OIl")]), MalformedFrame),
    "view with a map for a peer": (view([{"peer_id": "A"}]), MalformedFrame),
    "view with words for an observed address": (view([], observed="nowhere"), MalformedFrame),
    "view of version 2": (view([["A", [], 0]]), MalformedFrame),
    "view with a short signature": (view([entry("A", signature=bytes(63))]), MalformedFrame),
    "view with a signature as text": (view([entry("A", signature="a" * 64)]), MalformedFrame),
    "view with a negative sequence": (view([entry("A", sequence=-1)]), MalformedFrame),
    "refusal with terminal escapes": (refusal("busy", "\x1b[2J"), MalformedFrame),
    "refusal with a long text": (refusal("busy", "a" * 301), MessageTooLarge),
    "refusal with a wrong code": (refusal("Busy!", ""), MalformedFrame),
    "clearance with a negative time": (sealed(msgpack.packb({"retry_after": -1}), kind=8), MalformedFrame),
    "clearance with a fraction": (sealed(msgpack.packb({"retry_after": 0.5}), kind=8), MalformedFrame),
    "clearance with a body": (sealed(msgpack.packb({"retry_after": 0}), b"x", kind=8), MessageTooLarge),
    "pull with a body": (pull(body=b"x"), MessageTooLarge),
    "pull of another task": (pull(task=bytes(32)), IncompatibleTask),
    "pull of another layout": (pull(layout=bytes(32)), IncompatibleModel),
    "pull of a part": (pull(part=1), IncompatibleModel),
    "pull with an age": (pull(age=3), MalformedFrame),
    "pull with a short fingerprint": (pull(task=TASK[:31]), MalformedFrame),
    "acknowledgement without fields": (sealed(b"\x80", kind=2), MalformedFrame),
}


@pytest.mark.parametrize(("data", "error"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_frame_meets_its_named_error(data, error):
    with pytest.raises(MessageRefused) as caught:
        decoded(data, expectation(4))
    assert type(caught.value) is error
    assert len(str(caught.value)) < 600
    told = decoded(flat(encode(Refusal.of(caught.value))), expectation(4))
    assert told.code == error.counter()
    assert told.error().code == error.counter()


@pytest.mark.parametrize(("data", "error"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_frame_costs_no_memory(data, error):
    stream, expects = Stream(data), expectation(4)
    tracemalloc.start()
    try:
        with pytest.raises(error):
            received(stream, expects).message()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300_000
    assert sum(stream.asked) <= len(data) + 65_536


REFUSED_BEFORE_THE_BODY = [
    {"task": bytes(32)},
    {"layout": bytes(32)},
    {"codec": "zip"},
    {"tensors": [["row", "float32-le", [999_999]]]},
    {"tensors": [["row", "float32-le", [2**62]]]},
    {"preamble": {"body_bytes": 2**40}},
    {"preamble": {"version": 9}},
    {"age": -1},
]


@pytest.mark.parametrize("change", REFUSED_BEFORE_THE_BODY, ids=str)
def test_a_large_body_is_neither_read_nor_allocated_when_the_header_is_refused(change):
    body = bytes(4_000_000)
    stream = Stream(forged(body, **change))
    with pytest.raises(MessageRefused):
        received(stream, expectation(1_000_000))
    assert sum(stream.asked) < 1000


def test_the_reader_may_refuse_between_header_and_body():
    guard = ReplayGuard()
    guard.admit("sender", incarnation=2, sequence=8)
    stream = Stream(GOOD)

    def newer(header, size):
        assert size == len(GOOD)
        guard.check("sender", incarnation=header.incarnation, sequence=header.sequence)

    with pytest.raises(ReplayedMessage):
        received(stream, expectation(4), before_body=newer)
    assert stream.position == HEADER_END


def test_a_valid_frame_at_the_wrong_moment_is_refused():
    stream = Stream(flat(encode(View(task=TASK, peers=()))))
    with pytest.raises(MalformedFrame, match="expected model or refusal; got view"):
        received(stream, expectation(4), kinds={Kind.MODEL, Kind.REFUSAL})
    assert stream.asked == [PREAMBLE_BYTES]


def test_a_refusal_is_understood_whatever_its_version():
    data = sealed(msgpack.packb({"code": "unsupported_version", "text": "speak 7"}), kind=4, version=7)
    refused = decoded(data, expectation(4))
    assert refused == Refusal(code="unsupported_version", text="speak 7")


def test_a_codec_the_peer_did_not_name_is_not_read_even_if_bundled():
    only = Expectation(task=TASK, layout=LAYOUT, size=4, codecs=CODECS[:1])
    with pytest.raises(UnknownCodec, match="expected float32; got 'bfloat16'"):
        decoded(model_frame(ROW, codec=CODECS[1]), only)


def test_the_checksums_are_those_documented():
    """The forged frames above are only as good as their checksums."""
    assert forged(BODY) == GOOD
    assert struct.unpack_from("<I", GOOD, 12)[0] == xxhash.xxh32_intdigest(GOOD[PREAMBLE_BYTES:HEADER_END])
