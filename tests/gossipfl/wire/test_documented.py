"""The document says what the code does."""

import hashlib
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from gossipfl.codecs import CODECS, DTYPES, FLOAT32
from gossipfl.errors import (
    ExchangeFailed,
    ImplausibleAge,
    InconsistentSum,
    KeyUnknown,
    MessageRefused,
    PeerBusy,
    RateLimited,
    ReplayedMessage,
    ShareForged,
    SumKeyForged,
)
from gossipfl.network.multistream import MOST_LINE_BYTES, MOST_PROPOSALS
from gossipfl.network.noise.handshake import MOST_MESSAGE_BYTES
from gossipfl.settings.codec_names import CODEC_FAMILIES
from gossipfl.tasks import find_task
from gossipfl.wire import (
    MAGIC,
    PREAMBLE_BYTES,
    Acknowledgement,
    Kind,
    Limits,
    Refusal,
    encode,
    encode_model,
)
from gossipfl.wire.refusals import CODES, REMEDIES
from tests.gossipfl.wire.frames import LAYOUT, TASK, decoded, expectation, flat
from tests.gossipfl.wire.test_hostile import HOSTILE
from tests.gossipfl.wire.test_round_messages import HOSTILE as HOSTILE_ROUNDS

DOCUMENT = (Path(__file__).parents[3] / "docs" / "wire-protocol.md").read_text(encoding="utf-8")


def section(title):
    return re.search(rf"^#+ {title}$(.*?)(?=^#|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)[1]


def examples():
    blocks = re.findall(r"```hex\n(.*?)```", DOCUMENT, re.DOTALL)
    return [bytes.fromhex(re.sub(r"#.*", "", block)) for block in blocks]


def encoded():
    row = torch.tensor([1.0, -2.0, 0.5])
    said = {"task": TASK, "layout": LAYOUT, "age": 90, "incarnation": 2, "sequence": 7, "event": 41}
    return [
        flat(encode_model(row, codec=FLOAT32, wants_answer=True, **said)),
        flat(encode(Acknowledgement(incarnation=2, sequence=7))),
        flat(encode(Refusal(code="peer_busy", text="try later"))),
    ]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["model", "acknowledgement", "refusal"])
def test_the_worked_examples_are_what_the_code_writes(which):
    assert examples()[which] == encoded()[which]


def test_the_worked_examples_decode():
    model, acknowledgement, refusal = (decoded(data, expectation(3)) for data in examples())
    assert model.row.tolist() == [1.0, -2.0, 0.5]
    assert (model.header.age, model.header.event, model.header.wants_answer) == (90, 41, True)
    assert acknowledgement == Acknowledgement(incarnation=2, sequence=7)
    assert refusal.text == "try later"


def test_the_limits_are_the_defaults():
    written = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|$", section("Limits"), re.MULTILINE))
    assert written == {each.name: str(getattr(Limits(), each.name)) for each in fields(Limits)}


def test_the_preamble_is_as_long_and_begins_as_documented():
    rows = re.findall(r"^\| (\d+) \| (\d+) \|", section("Preamble"), re.MULTILINE)
    offset = 0
    for start, length in rows:
        assert int(start) == offset
        offset += int(length)
    assert offset == PREAMBLE_BYTES
    assert MAGIC.decode() in section("Preamble")
    assert ", ".join(f"{kind.value} {kind.name.lower()}" for kind in Kind) in section("Preamble")


def test_every_error_a_peer_can_tell_of_is_listed():
    listed = set(re.findall(r"^\| `(\w+)` \|", section("Errors"), re.MULTILINE))
    known = (*HOSTILE.values(), *HOSTILE_ROUNDS.values())
    met = {error for _, error in known} | {ReplayedMessage, ImplausibleAge, RateLimited, PeerBusy}
    met |= {MessageRefused, ExchangeFailed, InconsistentSum, KeyUnknown, ShareForged, SumKeyForged}
    assert listed == {error.counter() for error in met}
    assert set(REMEDIES) <= listed == CODES


def test_every_codec_and_dtype_is_listed():
    body = section("Body")
    forms = {family.form for family in CODEC_FAMILIES.values()}
    of_noloco = {"residues:BITS"}  # nobody chooses it
    assert set(re.findall(r"^\| `([^`]+)` \|", body, re.MULTILINE)) - of_noloco == forms >= set(CODECS)
    assert of_noloco.isdisjoint(forms)
    assert all(f"`{dtype}`" in body for dtype in DTYPES)


def test_the_digests_are_computed_as_documented():
    """From the document alone, with nothing of this project."""
    text = section("Task, layout and D")
    layout, task = re.findall(r"```json\n(.*?)\n```", text, re.DOTALL)
    said = re.findall(r"`([0-9a-f]{64})`", text)
    agreed = json.loads(task)
    parts = [agreed.get(name) for name in re.findall(r"^  \| `(\w+)` \|", text, re.MULTILINE)]
    digests = [hashlib.sha256(json.dumps(each).encode()).hexdigest() for each in parts]
    whole = hashlib.sha256(task.encode()).hexdigest()[:44]
    assert [
        hashlib.sha256(layout.encode()).hexdigest(),
        whole + "".join(each[:2] for each in digests),
    ] == said
    [structure] = re.findall(r"^  `(\{.*\})`\.$", text, re.MULTILINE)
    assert hashlib.sha256(structure.encode()).hexdigest() == agreed["structure"]
    entries = json.loads(layout)
    sizes = [torch.Size(shape).numel() for _, shape, _, _ in entries]
    assert [entry[3] for entry in entries] == [sum(sizes[:i]) for i in range(len(sizes))]
    assert f"D is {sum(sizes)}" in text
    digits = find_task("digits", {})
    assert (digits.layout.digest.hex(), digits.fingerprint.hex()) == tuple(said)
    assert digits.layout.shared_size == sum(sizes)


def test_the_bounds_of_negotiation_are_those_of_the_code():
    text = " ".join(section("Transport").split())
    assert f"at most {MOST_LINE_BYTES} bytes" in text
    assert f"at most {MOST_PROPOSALS} are answered" in text
    assert f"at most {MOST_MESSAGE_BYTES:,} bytes" in text
