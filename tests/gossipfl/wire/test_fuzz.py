"""On any bytes the reader gives a valid message or raises a MessageRefused."""

import msgpack
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gossipfl.errors import MessageRefused
from gossipfl.wire import (
    Acknowledgement,
    ModelMessage,
    PeerDescriptor,
    Pull,
    Refusal,
    View,
    encode,
)
from tests.gossipfl.wire.frames import (
    CODECS,
    LAYOUT,
    TASK,
    decoded,
    expectation,
    flat,
    model_fields,
    model_frame,
    numbers,
    sealed,
)

SIZE = 5
ROW = torch.tensor([0.5, -1.0, 0.0, 3.0, -7.25])
PEER = PeerDescriptor(
    peer_id="12D3KooWabc", addresses=("/ip4/127.0.0.1/tcp/4001",), age=2, sequence=8, signature=bytes(64)
)
VALID = [
    *(model_frame(ROW, codec=codec) for codec in CODECS),
    flat(encode(View(task=TASK, peers=(PEER,)))),
    flat(encode(Refusal(code="peer_busy", text="later"))),
    flat(encode(Acknowledgement(incarnation=1, sequence=9))),
    flat(encode(Pull(task=TASK, layout=LAYOUT, incarnation=3))),
]
valid = st.sampled_from(VALID)


def outcome(data):
    """What reading gives: the message, or the class of its refusal. Any other exception fails the test."""
    try:
        message = decoded(data, expectation(SIZE))
    except MessageRefused as refused:
        return type(refused)
    if isinstance(message, ModelMessage):
        assert message.row.shape == (SIZE,)
        assert message.row.dtype == torch.float32
        assert torch.isfinite(message.row).all()
    return message


@given(st.binary(max_size=400))
@example(b"GSFL")
@example(b"GSFL\x03\x00\x01\x00" + bytes(16))
def test_arbitrary_bytes(data):
    assert isinstance(outcome(data), type)


@given(valid, st.data())
def test_any_single_damaged_bit_is_noticed(frame, data):
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    damaged = bytearray(frame)
    damaged[bit // 8] ^= 1 << bit % 8
    result = outcome(bytes(damaged))
    # Only a refusal's version does not matter, because its schema never changes.
    assert isinstance(result, type) or (isinstance(result, Refusal) and bit // 8 in (4, 5))


@given(valid, st.data())
def test_any_shortened_frame_is_refused(frame, data):
    assert isinstance(outcome(frame[: data.draw(st.integers(0, len(frame) - 1))]), type)


@given(valid, st.data(), st.binary(max_size=20))
def test_any_splice_is_decoded_or_refused(frame, data, inserted):
    start = data.draw(st.integers(0, len(frame)))
    end = data.draw(st.integers(start, len(frame)))
    outcome(frame[:start] + inserted + frame[end:])


@given(st.integers(0, 5), st.binary(max_size=200), st.binary(max_size=40))
def test_any_header_with_a_right_checksum_is_decoded_or_refused(kind, header, body):
    outcome(sealed(header, body, kind=kind))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=40)
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
HONEST = {
    1: model_fields(numbers(*ROW.tolist())),
    2: {"incarnation": 1, "sequence": 9},
    3: {
        "task": TASK,
        "peers": [["12D3KooWabc", ["/ip4/127.0.0.1/tcp/4001"], 2, 8, bytes(64)]],
        "observed": "192.0.2.1",
    },
    4: {"code": "peer_busy", "text": "later"},
}


@given(st.sampled_from(sorted(HONEST)), st.data())
def test_any_value_in_any_field_is_decoded_or_refused(kind, data):
    fields = dict(HONEST[kind])
    for key in data.draw(st.sets(st.sampled_from(sorted(fields)), min_size=1, max_size=2)):
        fields[key] = data.draw(trees)
    outcome(sealed(msgpack.packb(fields), numbers(*ROW.tolist()) if kind == 1 else b"", kind=kind))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["row", "indices", "values"]),
            st.sampled_from(["float32-le", "float16-le", "int32-le", "uint8"]),
            st.lists(st.integers(0, 6) | st.integers(0, 2**63 - 1), max_size=3),
        ),
        max_size=3,
    ),
    st.sampled_from([codec.name for codec in CODECS]),
    st.binary(max_size=40),
)
def test_any_tensor_table_over_any_body_is_decoded_or_refused(tensors, codec, body):
    fields = model_fields(body, codec=codec, tensors=[list(each) for each in tensors])
    outcome(sealed(msgpack.packb(fields), body))


@given(st.lists(st.integers(-2, 6), max_size=3), st.lists(st.floats(width=32), max_size=3))
def test_any_sparse_payload_is_decoded_or_refused(indices, values):
    first = b"".join(each.to_bytes(4, "little", signed=True) for each in indices)
    body = first + (bytes(-len(first) % 8) if values else b"") + numbers(*values)
    tensors = [["indices", "int32-le", [len(indices)]], ["values", "float32-le", [len(values)]]]
    outcome(sealed(msgpack.packb(model_fields(body, codec="largest-entries", tensors=tensors)), body))


def test_the_valid_frames_of_these_tests_are_valid():
    assert not any(isinstance(outcome(frame), type) for frame in VALID)
