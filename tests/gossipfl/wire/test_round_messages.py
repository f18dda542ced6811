"""Messages of rounds: what they say comes back, and what is wrong with them meets its named error."""

from dataclasses import replace

import msgpack
import pytest
import torch
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.codecs import BFLOAT16, FLOAT32
from gossipfl.errors import (
    ChecksumMismatch,
    IncompatibleModel,
    IncompatibleRounds,
    IncompatibleTask,
    MalformedFrame,
    MessageRefused,
    MessageTooLarge,
    NonFiniteUpdate,
    UnexpectedRound,
    UnexpectedTensor,
    UnknownCodec,
    UnsupportedVersion,
)
from gossipfl.rounds.sums import RING_ROWS
from gossipfl.wire import (
    PREAMBLE_BYTES,
    VERSION,
    Expectation,
    Progress,
    Pull,
    RoundForm,
    RoundMessage,
    RoundsExpectation,
    SumMessage,
    encode,
    encode_round,
)
from tests.gossipfl.wire.frames import (
    LAYOUT,
    TASK,
    Stream,
    decoded,
    expectation,
    flat,
    forged,
    model_frame,
    numbers,
    received,
    sealed,
)

AGREEMENT = bytes(range(64, 96))
#: Rows of four numbers in a first exchange, and of one in a second.
FORMS = (RoundForm(size=4, codecs=(FLOAT32, BFLOAT16)), RoundForm(size=1, codecs=(FLOAT32,)))
BODY = numbers(1, 2, 3, 4)


def in_rounds(size: int = 9) -> Expectation:
    return replace(expectation(size), rounds=RoundsExpectation(agreement=AGREEMENT, forms=FORMS))


def round_frame(row, *, codec=FLOAT32, position=(3, 0), **changes) -> bytes:
    said = {"task": TASK, "layout": LAYOUT, "agreement": AGREEMENT, "incarnation": 2, **changes}
    return flat(encode_round(codec.encode(row), codec=codec.name, position=position, **said))


def fields(body: bytes = BODY, **changes):
    said = {
        "task": TASK,
        "layout": LAYOUT,
        "agreement": AGREEMENT,
        "incarnation": 2,
        "round": 3,
        "exchange": 0,
        "codec": "float32",
        "tensors": [["row", "float32-le", [len(body) // 4]]],
        "checksum": xxhash.xxh3_64_intdigest(body),
        **changes,
    }
    return {key: value for key, value in said.items() if value is not None}


def forged_round(body: bytes = BODY, *, preamble: dict | None = None, **changes) -> bytes:
    return sealed(msgpack.packb(fields(body, **changes)), body, kind=5, **(preamble or {}))


def pull() -> bytes:
    return flat(encode(Pull(task=TASK, layout=LAYOUT, incarnation=1)))


def forged_progress(**changes) -> bytes:
    said = {"task": TASK, "agreement": AGREEMENT, "incarnation": 1, "round": 3, "exchange": 0, "kept": True}
    return sealed(msgpack.packb({**said, **changes}), kind=6)


def forged_sum(**changes) -> bytes:
    said = {"agreement": AGREEMENT, "round": 3, "exchange": 0, "step": 2, "content": b"any"}
    return sealed(msgpack.packb({**said, **changes}), kind=11)


HOSTILE = {
    "a sum of other rounds": (forged_sum(agreement=bytes(32)), IncompatibleRounds),
    "a sum with a body": (sealed(b"", b"x", kind=11), MessageTooLarge),
    "a sum of text": (forged_sum(content="any"), MalformedFrame),
    "a sum that is too long": (forged_sum(content=bytes(16 * 1024 + 1)), MessageTooLarge),
    "a sum of a negative round": (forged_sum(round=-1), MalformedFrame),
    "a pull, which is of gossip": (pull(), IncompatibleRounds),
    "a round in version 2": (forged_round(preamble={"version": 2}), UnsupportedVersion),
    "a progress with a body": (sealed(b"", b"x", kind=6), MessageTooLarge),
    "a round with a giant body": (forged_round(preamble={"body_bytes": 2**63}), MessageTooLarge),
    "a field missing": (forged_round(agreement=None), MalformedFrame),
    "a field of a model": (forged_round(age=3), MalformedFrame),
    "a negative round": (forged_round(round=-1), MalformedFrame),
    "a round of 2^63": (forged_round(round=2**63), MalformedFrame),
    "a short agreement": (forged_round(agreement=b"a"), MalformedFrame),
    "another task": (forged_round(task=bytes(32)), IncompatibleTask),
    "another layout": (forged_round(layout=bytes(32)), IncompatibleModel),
    "other rounds": (forged_round(agreement=bytes(32)), IncompatibleRounds),
    "an exchange too many": (forged_round(exchange=2), UnexpectedRound),
    "an exchange of 2^60": (forged_round(exchange=2**60), UnexpectedRound),
    "a codec of another exchange": (forged_round(numbers(1), exchange=1, codec="bfloat16"), UnknownCodec),
    "the size of another exchange": (forged_round(numbers(1)), UnexpectedTensor),
    "the size of the model": (forged_round(numbers(*range(9))), UnexpectedTensor),
    "a damaged row": (forged_round()[:-1] + b"\x07", ChecksumMismatch),
    "NaN": (forged_round(numbers(1, 2, 3, float("nan"))), NonFiniteUpdate),
    "progress of another task": (forged_progress(task=bytes(32)), IncompatibleTask),
    "progress in other rounds": (forged_progress(agreement=bytes(32)), IncompatibleRounds),
    "progress that is not a boolean": (forged_progress(kept=1), MalformedFrame),
    "a model that is gossiped": (model_frame(torch.ones(9)), IncompatibleRounds),
}


@pytest.mark.parametrize(("data", "error"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_frame_meets_its_named_error(data, error):
    with pytest.raises(MessageRefused) as caught:
        decoded(data, in_rounds())
    assert type(caught.value) is error


def test_a_peer_that_gossips_refuses_rounds_by_name():
    for frame in (forged_round(), forged_progress()):
        with pytest.raises(IncompatibleRounds, match="this peer gossips"):
            decoded(frame, expectation(4))


def test_a_peer_of_an_earlier_version_refuses_rounds_from_the_preamble():
    later = forged_round()
    later = later[:4] + (VERSION + 1).to_bytes(2, "little") + later[6:]
    stream = Stream(later)
    with pytest.raises(UnsupportedVersion):
        received(stream, in_rounds())
    assert stream.asked == [PREAMBLE_BYTES]


@pytest.mark.parametrize("change", [{"agreement": bytes(32)}, {"exchange": 7}, {"round": -1}], ids=str)
def test_a_refused_body_is_neither_read_nor_allocated(change):
    body = bytes(4_000_000)
    large = replace(
        in_rounds(),
        rounds=RoundsExpectation(agreement=AGREEMENT, forms=(RoundForm(size=1_000_000, codecs=(FLOAT32,)),)),
    )
    stream = Stream(forged_round(body, **change))
    with pytest.raises(MessageRefused):
        received(stream, large)
    assert sum(stream.asked) < 1000


@given(
    st.sampled_from([FLOAT32, BFLOAT16]),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=4, max_size=4),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
)
def test_rows_of_rounds_come_back(codec, values, number, incarnation):
    row = torch.tensor(values)
    data = round_frame(row, codec=codec, position=(number, 0), incarnation=incarnation)
    message = decoded(data, in_rounds())
    assert isinstance(message, RoundMessage)
    assert message.row.equal(codec.decode(codec.encode(row), 4))
    header = message.header
    assert (header.round, header.exchange, header.incarnation) == (number, 0, incarnation)


def test_every_exchange_has_a_form_of_its_own():
    assert decoded(round_frame(torch.ones(1), position=(3, 1)), in_rounds()).row.tolist() == [1.0]


@given(
    st.builds(
        Progress,
        task=st.just(TASK),
        agreement=st.just(AGREEMENT),
        incarnation=st.integers(0, 2**63 - 1),
        round=st.integers(0, 2**63 - 1),
        exchange=st.integers(0, 2**63 - 1),
        kept=st.booleans(),
    )
)
def test_progress_comes_back(message):
    assert decoded(flat(encode(message)), in_rounds()) == message


@given(
    st.builds(
        SumMessage,
        agreement=st.just(AGREEMENT),
        round=st.integers(0, 2**63 - 1),
        exchange=st.integers(0, 2**63 - 1),
        step=st.integers(0, 2**63 - 1),
        content=st.binary(max_size=200),
    )
)
def test_steps_of_sums_come_back(message):
    assert decoded(flat(encode(message)), in_rounds()) == message


def test_masked_rows_come_back_as_they_are():
    """Ring elements are no numbers, so those that look like NaN are as good as others."""
    masked = torch.tensor([0x7FC00000, -1, 0, -(2**31)], dtype=torch.int32)
    forms = (RoundForm(size=4, codecs=(RING_ROWS,)),)
    expects = replace(in_rounds(), rounds=RoundsExpectation(agreement=AGREEMENT, forms=forms))
    assert decoded(round_frame(masked, codec=RING_ROWS), expects).row.equal(masked)
    with pytest.raises(UnknownCodec):
        decoded(round_frame(torch.ones(4)), expects)


@given(st.binary(max_size=80), st.integers(0, 400))
def test_on_any_bytes_a_message_or_a_named_refusal(noise, place):
    good = forged_round()
    for data in (good[:place] + noise + good[place + len(noise) :], sealed(noise, BODY, kind=5)):
        try:
            decoded(data, in_rounds())
        except MessageRefused:
            continue


def test_forging_is_honest_where_nothing_is_changed():
    assert decoded(forged_round(), in_rounds()).row.tolist() == [1, 2, 3, 4]
    assert decoded(forged(numbers(1, 2)), expectation(2)).row.tolist() == [1, 2]
