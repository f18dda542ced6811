"""Further rows of a message: they arrive, and hostile ones meet a named error before memory is set aside."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.codecs import FLOAT32, codec
from gossipfl.errors import IncompatibleModel, MessageRefused, NonFiniteUpdate, UnexpectedTensor
from gossipfl.wire import PREAMBLE_BYTES, CarriedRow
from tests.gossipfl.wire.frames import (
    CODECS,
    SENDER,
    Stream,
    decoded,
    expectation,
    forged,
    model_frame,
    numbers,
    received,
)

ROW, MOMENTUM, WEIGHT = torch.arange(4.0), torch.tensor([0.5, -2.0, 1.0]), torch.tensor(0.25)
CARRIED = {"momentum": MOMENTUM, "weight": WEIGHT}
EXPECTED = replace(
    expectation(4),
    codecs=(*CODECS, codec("int8")),
    carried=(CarriedRow("momentum", 3), CarriedRow("weight", None)),
)
HONEST = [["row", "float32-le", [4]], ["momentum.row", "float32-le", [3]], ["weight.row", "float32-le", [1]]]
#: Tensors begin at multiples of eight bytes.
BODY = numbers(0, 1, 2, 3, 0.5, -2, 1, 0, 0.25)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "int8"])
def test_they_arrive_with_the_precision_of_their_codec_and_single_numbers_in_full(name):
    weight = torch.tensor(0.1)
    message = decoded(
        model_frame(ROW, codec=codec(name), carried={"momentum": MOMENTUM, "weight": weight}), EXPECTED
    )
    keys = torch.zeros(1, dtype=torch.int64)
    assert message.row.tolist() == codec(name).compress(ROW[None], keys=keys)[0].tolist()
    assert message.carried["momentum"].tolist() == codec(name).compress(MOMENTUM[None], keys=keys)[0].tolist()
    assert message.carried["weight"].equal(weight)


def test_an_empty_row_is_carried_too():
    expected = replace(EXPECTED, carried=(CarriedRow("momentum", 0),))
    message = decoded(model_frame(ROW, carried={"momentum": torch.empty(0)}), expected)
    assert message.carried["momentum"].shape == (0,)


def test_the_forged_frames_below_are_honest_but_for_what_they_change():
    message = decoded(forged(BODY, tensors=HONEST), EXPECTED)
    assert message.carried["momentum"].equal(MOMENTUM)
    assert message.carried["weight"].equal(WEIGHT)


@pytest.mark.parametrize(
    "tensors",
    [
        HONEST[:1],
        HONEST[:2],
        [HONEST[0], HONEST[2], HONEST[1]],
        [*HONEST, ["more.row", "float32-le", [1]]],
        [HONEST[0], ["momentum.row", "float32-le", [2**40]], HONEST[2]],
        [HONEST[0], ["momentum.row", "float32-le", [2]], HONEST[2]],
        [HONEST[0], ["momentum.row", "int64-le", [3]], HONEST[2]],
        [HONEST[0], ["row", "float32-le", [3]], HONEST[2]],
        [HONEST[0], HONEST[1], ["weight.row", "float32-le", [2**40]]],
        [HONEST[0], HONEST[1], ["weight.row", "float32-le", []]],
    ],
)
def test_anything_not_as_declared_is_refused_before_memory_is_set_aside(tensors):
    stream = Stream(forged(BODY, tensors=tensors))
    with pytest.raises(UnexpectedTensor):
        received(stream, EXPECTED)
    assert len(stream.asked) == 2
    assert stream.asked[0] == PREAMBLE_BYTES


def test_a_peer_that_expects_none_takes_none():
    with pytest.raises(UnexpectedTensor, match="number of tensors"):
        decoded(model_frame(ROW, carried=CARRIED), expectation(4))


def test_another_digest_of_what_is_sent_is_refused_by_name():
    with pytest.raises(IncompatibleModel, match="run the same algorithm"):
        decoded(model_frame(ROW, **{**SENDER, "layout": bytes(32)}, carried=CARRIED), EXPECTED)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [4, 8])
def test_what_is_not_finite_is_refused_at_both_ends(value, place):
    body = torch.frombuffer(bytearray(BODY), dtype=torch.float32)
    body[place] = value
    with pytest.raises(NonFiniteUpdate):
        decoded(forged(body.numpy().tobytes(), tensors=HONEST), EXPECTED)
    with pytest.raises(NonFiniteUpdate):
        model_frame(ROW, codec=FLOAT32, carried={"momentum": torch.full((3,), value), "weight": WEIGHT})


entries = st.lists(
    st.tuples(
        st.sampled_from(["row", "momentum.row", "weight.row", "momentum.", "x"]),
        st.sampled_from(["float32-le", "bfloat16-le", "int8", "float64-le"]),
        st.lists(st.integers(0, 5), max_size=2),
    ).map(list),
    max_size=5,
)


@given(entries, st.binary(max_size=48))
def test_whatever_is_claimed_is_decoded_as_declared_or_refused(tensors, body):
    try:
        message = decoded(forged(body, tensors=tensors), EXPECTED)
    except MessageRefused:
        return
    assert message.carried["momentum"].shape == (3,)
    assert message.carried["weight"].shape == ()
