"""Parts of rows on the wire: what they say comes back, and what is wrong with them meets its named error."""

import msgpack
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.codecs import BFLOAT16, FLOAT32
from gossipfl.errors import (
    IncompatibleModel,
    MalformedFrame,
    MessageRefused,
    MessageTooLarge,
    UnexpectedTensor,
    UnknownCodec,
)
from gossipfl.wire import Expectation, PartForm, Pull, Refusal, encode, encode_model
from tests.gossipfl.wire.frames import CODECS, LAYOUT, TASK, decoded, flat, forged, model_frame

SIZE, PARTS = 10, 4
FORM = PartForm(count=PARTS, ages=PARTS, least=2, most=3, size_of=lambda part: len(range(part, SIZE, PARTS)))
WHOLE = Expectation(task=TASK, layout=LAYOUT, size=SIZE, codecs=tuple(CODECS))
IN_PARTS = Expectation(task=TASK, layout=LAYOUT, size=SIZE, codecs=tuple(CODECS), parts=FORM)
AGES = (3, 9, 4, 4)


def part_frame(numbers, *, part, ages=AGES, codec=FLOAT32, **changes) -> bytes:
    said = {"age": max(ages, default=0), "incarnation": 1, "sequence": 2, "event": 3, **changes}
    return flat(
        encode_model(
            torch.tensor(numbers), codec=codec, task=TASK, layout=LAYOUT, part=part, ages=ages, **said
        )
    )


def pull(part=0):
    return flat(encode(Pull(task=TASK, layout=LAYOUT, incarnation=1, part=part)))


@given(st.integers(0, PARTS - 1), st.lists(st.integers(0, 2**63 - 1), min_size=PARTS, max_size=PARTS))
def test_a_part_comes_back(part, ages):
    numbers = [float(place) for place in range(part, SIZE, PARTS)]
    message = decoded(part_frame(numbers, part=part, ages=tuple(ages)), IN_PARTS)
    assert message.row.tolist() == numbers
    assert (message.header.part, message.header.ages) == (part, tuple(ages))
    assert message.header.age == max(ages)


def test_a_part_can_be_asked_for():
    assert decoded(pull(3), IN_PARTS).part == 3
    assert decoded(pull(), WHOLE).part == 0


GOOD = [0.5, 1.0, 2.0]
HOSTILE = {
    "a whole row": (model_frame(torch.zeros(SIZE)), IncompatibleModel),
    "a part beyond the last": (part_frame(GOOD, part=PARTS), IncompatibleModel),
    "a pull of a part beyond the last": (pull(PARTS), IncompatibleModel),
    "a pull of a part of 2^62": (pull(2**62), IncompatibleModel),
    "the size of another part": (part_frame(GOOD, part=2), UnexpectedTensor),
    "the size of none": (part_frame([1.0] * 4, part=0), UnexpectedTensor),
    "nothing": (part_frame([], part=0), UnexpectedTensor),
    "too few ages": (part_frame(GOOD, part=0, ages=(9, 9)), MalformedFrame),
    "no ages": (part_frame(GOOD, part=0, ages=(), age=3), MalformedFrame),
    "an age above all": (part_frame(GOOD, part=0, age=10), MalformedFrame),
    "an age below one": (part_frame(GOOD, part=0, age=8), MalformedFrame),
    "too many ages": (part_frame(GOOD, part=0, ages=(1,) * 256), MalformedFrame),
    "another codec": (part_frame(GOOD, part=0, codec=BFLOAT16), UnknownCodec),
    "the fields of a model": (forged(bytes(12), preamble={"kind": 10}), MalformedFrame),
    "a giant part": (part_frame([1.0] * SIZE, part=0), UnexpectedTensor),
}


@pytest.mark.parametrize(("data", "error"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_part_meets_its_named_error(data, error):
    with pytest.raises(MessageRefused) as caught:
        decoded(data, IN_PARTS)
    assert type(caught.value) is error
    assert decoded(flat(encode(Refusal.of(caught.value))), IN_PARTS).code == error.counter()


def test_whole_rows_are_not_taken_in_parts():
    for data in (part_frame(GOOD, part=0), pull(1)):
        with pytest.raises(IncompatibleModel, match="divided otherwise"):
            decoded(data, WHOLE)


def test_more_ages_than_any_message_has_are_too_many():
    with pytest.raises(MessageTooLarge):
        part_frame(GOOD, part=0, ages=(1,) * 257)


@given(st.data())
def test_any_splice_is_decoded_or_refused(data):
    frame = part_frame(GOOD, part=0)
    start = data.draw(st.integers(0, len(frame)))
    end = data.draw(st.integers(start, len(frame)))
    spliced = frame[:start] + data.draw(st.binary(max_size=20)) + frame[end:]
    try:
        message = decoded(spliced, IN_PARTS)
    except MessageRefused:
        return
    assert msgpack.packb(list(message.header.ages))
    assert message.row.numel() == 3
