import string

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gossipfl.codecs import BFLOAT16, FLOAT32
from gossipfl.errors import MalformedFrame, MessageTooLarge
from gossipfl.wire import (
    Acknowledgement,
    Kind,
    Limits,
    PeerDescriptor,
    Pull,
    Refusal,
    View,
    encode,
    encode_model,
)
from tests.gossipfl.wire.frames import (
    CODECS,
    LAYOUT,
    SENDER,
    SPARSE,
    TASK,
    Stream,
    decoded,
    expectation,
    flat,
    model_frame,
    received,
)

counts = st.integers(0, 2**63 - 1)
rows = hnp.arrays(np.float32, st.integers(0, 100), elements=st.floats(-6e4, 6e4, width=32)).map(
    torch.from_numpy
)
peer_ids = st.text("123ABCabc", min_size=1, max_size=100)
addresses = st.text(string.ascii_letters + string.digits + "/.:", min_size=1, max_size=190).map(
    lambda rest: "/" + rest
)
descriptors = st.builds(
    PeerDescriptor,
    peer_id=peer_ids,
    addresses=st.lists(addresses, max_size=4).map(tuple),
    age=counts,
    sequence=counts,
    signature=st.binary(min_size=64, max_size=64),
)
views = st.builds(
    View,
    task=st.just(TASK),
    observed=st.sampled_from(["", "192.0.2.1", "2001:db8::1"]),
    peers=st.lists(descriptors, max_size=64, unique_by=lambda each: each.peer_id).map(tuple),
)
refusals = st.builds(
    Refusal,
    code=st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True),
    text=st.text(string.printable[:95], max_size=300),
)
acknowledgements = st.builds(Acknowledgement, incarnation=counts, sequence=counts)
pulls = st.builds(Pull, task=st.just(TASK), layout=st.just(LAYOUT), incarnation=counts)


@given(
    rows,
    st.sampled_from(CODECS),
    counts,
    counts,
    counts,
    counts,
    st.booleans(),
    st.binary(min_size=32, max_size=32),
)
def test_models(row, codec, age, incarnation, sequence, event, wants_answer, layout):
    said = {
        "age": age,
        "incarnation": incarnation,
        "sequence": sequence,
        "event": event,
        "wants_answer": wants_answer,
    }
    data = model_frame(row, codec=codec, **said)
    expects = expectation(len(row))
    frame = received(Stream(data), expects)
    assert frame.size == len(data)
    message = frame.message()
    assert {key: getattr(message.header, key) for key in said} == said
    assert (message.header.task, message.header.layout, message.header.codec) == (TASK, LAYOUT, codec.name)
    assert message.row.equal(codec.decode(codec.encode(row), len(row)))


@given(views | refusals | acknowledgements | pulls)
def test_messages_without_a_body(message):
    data = flat(encode(message))
    assert decoded(data, expectation(3)) == message


def test_frames_follow_each_other_on_one_stream():
    first, second = model_frame(torch.ones(5)), flat(encode(Acknowledgement(incarnation=1, sequence=2)))
    stream = Stream(first + second)
    assert received(stream, expectation(5), kinds={Kind.MODEL}).message().row.equal(torch.ones(5))
    assert stream.position == len(first)
    acknowledged = received(stream, expectation(5), kinds={Kind.ACKNOWLEDGEMENT, Kind.REFUSAL})
    assert acknowledged.message() == Acknowledgement(incarnation=1, sequence=2)
    assert stream.position == len(first + second)


@pytest.mark.parametrize("codec", [FLOAT32, BFLOAT16], ids=lambda each: each.name)
def test_framing_costs_at_most_a_thousandth_of_a_megabyte(codec):
    row = torch.ones(1_000_000 // 4)
    largest = dict.fromkeys(("age", "incarnation", "sequence", "event"), 2**63 - 1)
    frame = encode_model(row, codec=codec, **{**SENDER, **largest})
    body = codec.encode(row)[0].data.nbytes
    assert frame.size - body <= body / 1000


def test_tensors_begin_at_multiples_of_eight_bytes():
    row = torch.tensor([0.0, 3.0, 0.0, 1.0, -2.0])
    frame = encode_model(row, codec=SPARSE, **SENDER)
    body = b"".join(frame.buffers[1:])
    assert np.frombuffer(body[:12], "<i4").tolist() == [1, 3, 4]
    assert body[12:16] == bytes(4)
    assert np.frombuffer(body[16:], "<f4").tolist() == [3.0, 1.0, -2.0]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"task": b"short"}, MalformedFrame, "the digest task"),
        ({"age": -1}, MalformedFrame, "age is out of range"),
        ({"age": 2**63}, MalformedFrame, "age is out of range"),
        ({"event": 1.0}, MalformedFrame, "event is out of range"),
        ({"limits": Limits(header_bytes=100)}, MessageTooLarge, "header"),
    ],
    ids=str,
)
def test_what_every_receiver_would_refuse_is_not_sent(change, error, words):
    with pytest.raises(error, match=words):
        encode_model(torch.ones(2), codec=FLOAT32, **{**SENDER, **change})


def test_a_view_above_the_limits_is_not_sent():
    peers = tuple(PeerDescriptor(peer_id="A" * n, addresses=(), signature=bytes(64)) for n in range(1, 66))
    with pytest.raises(MessageTooLarge, match="peers"):
        encode(View(task=TASK, peers=peers))
