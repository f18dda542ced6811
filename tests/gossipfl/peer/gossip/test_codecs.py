"""Codecs that peers send models with, and those they accept."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gossipfl.codecs import codec, message_key
from gossipfl.errors import SettingError, UnexpectedTensor, UnknownCodec
from gossipfl.peer.assembly import expectation_of, outgoing_of
from gossipfl.settings import parse_settings
from gossipfl.tasks import Dataset, Task
from gossipfl.wire import encode_model
from tests.gossipfl.wire.frames import decoded

NOTHING = torch.zeros(2, 20)
TASK = Task(
    name="wide",
    model=lambda: nn.Linear(20, 20),
    data=lambda: Dataset(
        train_inputs=NOTHING, train_targets=NOTHING, test_inputs=NOTHING, test_targets=NOTHING
    ),
    loss=nn.functional.mse_loss,
)
SIZE = 420


def frame(row, name, *, key=0):
    encoded = encode_model(
        row,
        codec=codec(name),
        key=key,
        task=TASK.fingerprint,
        layout=TASK.layout.digest,
        age=1,
        incarnation=1,
        sequence=1,
        event=1,
    )
    return b"".join(encoded.buffers)


class Lying:
    """A codec whose payload is another's."""

    name = "int8:42"

    def __init__(self, payload):
        self.payload = payload

    def encode(self, row, *, key=0):
        return self.payload


@pytest.mark.parametrize(
    "name", ["float32", "bfloat16", "float16", "int8", "int8:20", "qsgd:31:16", "qsgd:40"]
)
def test_what_keeps_models_arrives_as_it_was_encoded(name):
    row, key = torch.randn(SIZE), message_key("P", incarnation=1, sequence=7)
    message = decoded(frame(row, name, key=key), expectation_of(TASK))
    assert message.row.equal(codec(name).compress(row[None], keys=torch.tensor([key]))[0])
    assert message.header.codec == codec(name).name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("top:0.01", "error feedback"),
        ("random-scaled:0.9", "error feedback"),
        ("sign", "error feedback"),
        ("qsgd:4", "420 numbers by more than half"),
    ],
)
def test_what_does_not_is_refused_by_name_before_its_body_is_read(name, said):
    with pytest.raises(UnknownCodec, match=said):
        decoded(frame(torch.randn(SIZE), name), expectation_of(TASK))


def test_a_payload_of_another_form_than_its_name_implies_is_refused():
    """A scale for each 21 numbers, told as if it were one for each 42."""
    lying = Lying(codec("int8:21").encode(torch.randn(SIZE)))
    encoded = encode_model(
        torch.randn(SIZE),
        codec=lying,
        task=TASK.fingerprint,
        layout=TASK.layout.digest,
        age=1,
        incarnation=1,
        sequence=1,
        event=1,
    )
    with pytest.raises(UnexpectedTensor, match=r"expected scales float32-le \[10\]; got .*\[20\]"):
        decoded(b"".join(encoded.buffers), expectation_of(TASK))


def test_a_codec_too_coarse_for_the_model_is_refused_at_the_start():
    settings = parse_settings({"exchange": {"codec": "qsgd:4"}}, source="a test")
    with pytest.raises(SettingError, match=r"exchange\.codec: qsgd:4 may change a model of 420 numbers"):
        outgoing_of(settings, TASK)
    assert outgoing_of(parse_settings({}, source="a test"), TASK).codec.name == "float32"
