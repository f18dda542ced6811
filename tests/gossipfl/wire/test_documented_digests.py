"""Every digest that the document defines, computed from its words alone, without this project's functions."""

import functools
import hashlib
import hmac
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gossipfl.codecs import message_key
from gossipfl.fingerprints import PARTS
from gossipfl.layout import SharePolicy
from gossipfl.membership import SecretDoor, Session
from gossipfl.membership.charter import fingerprints
from gossipfl.network import Identity
from gossipfl.peer.gossip.plan import gossip_plan
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Dataset, Task, find_task
from gossipfl.training import Nodes
from gossipfl.wire import announce
from tests.gossipfl.wire.test_documented import section

ROOT = Path(__file__).parents[3]
TABLE = np.arange(6, dtype=np.int16).reshape(2, 3)


def layout_digest(parameters):
    """From ``[(name, shape), ...]``, all float32."""
    entries, offset = [], 0
    for name, shape in parameters:
        entries.append([name, list(shape), "float32", offset])
        offset += int(np.prod(shape, dtype=int))
    return hashlib.sha256(json.dumps(entries, separators=(",", ":")).encode()).digest()


def tensors_digest(tensors):
    """From ``{name: (shape, dtype, bytes)}``."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        shape, dtype, content = tensors[name]
        whole.update(f"{name}/{shape}/{dtype}".encode() + content)
    return whole.hexdigest()


def function_name(dotted, settings=None, tensors=None):
    text = dotted if settings is None else dotted + json.dumps(settings, sort_keys=True)
    return text if not tensors else f"{text}#{tensors_digest(tensors)}"


def fingerprint(
    *,
    name,
    layout,
    loss,
    metrics,
    seed,
    first,
    structure,
    start="common",
    constants=None,
    transform=None,
    untrained=None,
):
    agreed = {
        "constants": tensors_digest(constants or {}),
        "layout": layout.hex(),
        "loss": loss,
        "metrics": sorted(metrics),
        "name": name,
        "start": [start, seed, hashlib.sha256(first).hexdigest()],
        "structure": hashlib.sha256(json.dumps(structure, sort_keys=True).encode()).hexdigest(),
    }
    if transform is not None:
        agreed["transform"] = transform
    if untrained is not None:
        agreed["untrained"] = tensors_digest(untrained)
    whole = hashlib.sha256(json.dumps(agreed, sort_keys=True).encode()).digest()[:22]
    parts = (json.dumps(agreed.get(key), sort_keys=True).encode() for key in PARTS)
    return whole + bytes(hashlib.sha256(part).digest()[0] for part in parts)


def messages_digest(layout, rows, algorithm=None, text=""):
    lines = [f"{name} {size}\n" for name, size in rows]
    if algorithm is not None:
        lines.append(hashlib.sha256(repr(algorithm).encode() + text.encode()).hexdigest() + "\n")
    return hashlib.blake2b(layout + "".join(lines).encode(), digest_size=32).digest()


class Scaled(nn.Module):
    """A layer with a constant of each kind."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("scale", torch.tensor([1.0, 2.0]), persistent=False)
        self.tables = {"kept": [3, TABLE]}
        self.alias = self.linear.weight.detach()  # a view of the row
        self.empty = torch.zeros(0)

    def forward(self, inputs):
        return self.linear(inputs) * self.scale


class Shifted:
    """A transform with a setting and an array."""

    def __init__(self):
        self.amount = 0.5
        self.shift = np.ones(3, dtype=np.float32)

    def __call__(self, inputs, targets, generator):
        return inputs + self.amount * torch.from_numpy(self.shift), targets


def made(**changes):
    data = Dataset(
        train_inputs=torch.ones(4, 3),
        train_targets=torch.zeros(4, dtype=torch.int64),
        test_inputs=torch.ones(2, 3),
        test_targets=torch.zeros(2, dtype=torch.int64),
    )
    return Task(
        **{"name": "scaled", "model": lambda: nn.Sequential(Scaled()), "data": lambda: data, **changes}
    )


LAYOUT = [("0.linear.weight", (2, 3)), ("0.linear.bias", (2,))]
CONSTANTS = {
    "0.scale": ((2,), "torch.float32", struct.pack("<2f", 1, 2)),
    "0.tables.kept.1": ((2, 3), "int16", struct.pack("<6h", *range(6))),
}
STRUCTURE = {
    "": ["Sequential", {}],
    "0": ["Scaled", {"tables": {"kept": [3]}}],
    "0.linear": ["Linear", {"in_features": 3, "out_features": 2}],
}
CROSS_ENTROPY = "torch.nn.functional.cross_entropy"


def first_of(task, size):
    return task.initial_row()[:size].numpy().tobytes()


def test_the_fingerprint_covers_constants_and_settings():
    weights = torch.tensor([1.0, 3.0])
    task = made(
        loss=functools.partial(nn.functional.cross_entropy, weight=weights, label_smoothing=0.1),
        transform=Shifted(),
        seed=7,
        start="independent",
    )
    loss = function_name(
        CROSS_ENTROPY,
        {"label_smoothing": 0.1},
        {"weight": ((2,), "torch.float32", struct.pack("<2f", 1, 3))},
    )
    transform = function_name(
        f"{Shifted.__module__}.Shifted",
        {"amount": 0.5},
        {"shift": ((3,), "float32", struct.pack("<3f", 1, 1, 1))},
    )
    assert task.layout.digest == layout_digest(LAYOUT)
    assert task.fingerprint == fingerprint(
        name="scaled",
        layout=layout_digest(LAYOUT),
        loss=[loss, [{}, [], {"label_smoothing": 0.1}]],
        metrics=task.metrics,
        structure=STRUCTURE,
        seed=7,
        start="independent",
        first=first_of(task, 8),
        constants=CONSTANTS,
        transform=[transform, {"amount": 0.5}],
    )


def test_what_stays_local_is_in_neither_digest():
    task = made(share=SharePolicy(local=("0.*s*",)), loss=nn.CrossEntropyLoss())
    plain = {key: each for key, each in vars(task.loss).items() if isinstance(each, str | int | float | None)}
    assert task.layout.digest == layout_digest(LAYOUT[:1])
    assert task.fingerprint == fingerprint(
        name="scaled",
        layout=layout_digest(LAYOUT[:1]),
        loss=[
            function_name("torch.nn.modules.loss.CrossEntropyLoss", plain),
            {
                "": [
                    "CrossEntropyLoss",
                    {"ignore_index": -100, "label_smoothing": 0.0, "reduction": "mean"},
                ]
            },
        ],
        structure={
            "": ["Sequential", {}],
            "0": ["Scaled", {}],
            "0.linear": ["Linear", {}],
        },
        metrics=task.metrics,
        seed=0,
        first=first_of(task, 6),
    )


def test_frozen_parameters_and_buffers_are_covered():
    def frozen():
        module = Scaled()
        module.linear.requires_grad_(False)
        nn.init.constant_(module.linear.weight, 0.5)
        nn.init.constant_(module.linear.bias, 0.25)
        module.register_buffer("count", torch.tensor([3]))
        return nn.Sequential(module, nn.Linear(2, 2))

    task = made(model=frozen)
    assert task.fingerprint == fingerprint(
        name="scaled",
        layout=layout_digest([("1.weight", (2, 2)), ("1.bias", (2,))]),
        loss=[CROSS_ENTROPY, {}],
        metrics=task.metrics,
        seed=0,
        first=first_of(task, 6),
        constants=CONSTANTS,
        structure={**STRUCTURE, "1": ["Linear", {"in_features": 2, "out_features": 2}]},
        untrained={
            "0.count": ((1,), "torch.int64", struct.pack("<q", 3)),
            "0.linear.bias": ((2,), "torch.float32", struct.pack("<2f", 0.25, 0.25)),
            "0.linear.weight": ((2, 3), "torch.float32", struct.pack("<6f", *[0.5] * 6)),
        },
    )


def test_the_document_names_all_parts_in_order():
    text = section("Task, layout and D")
    lines = [line for line in text.splitlines() if line.strip().startswith("| `")]
    assert [line.split("`")[1] for line in lines] == list(PARTS)


def test_further_rows_and_a_users_own_algorithm_are_covered():
    digits = find_task("digits", {})
    name, file = "examples.momentum_gossip:MomentumGossip", "examples/momentum_gossip.py"
    text = " ".join(section("Digest of messages").split())
    assert f"`{file}`" in text and "`momentum 4810`" in text and f"`('{name}', [('kept', 0.5)])`" in text
    row = digits.initial_row()[None]
    plan = gossip_plan(
        PeerSettings.model_validate({"gossip": {"algorithm": name}}),
        digits,
        Nodes.start(row, optimiser_state_size=row.shape[1]),
    )
    source = (ROOT / file).read_text(encoding="utf-8")
    expected = messages_digest(digits.layout.digest, [("momentum", 4810)], (name, [("kept", 0.5)]), source)
    assert plan.layout == expected


def test_the_key_of_random_draws():
    said = hashlib.sha256(b"12D3KooWExample 5 9").digest()[:8]
    assert message_key("12D3KooWExample", incarnation=5, sequence=9) == struct.unpack("<q", said)[0]


def test_the_signature_of_an_announcement():
    identity = Identity(bytes(range(32)))
    addresses = ("/ip4/192.0.2.7/tcp/4001", "/ip6/::1/tcp/1")
    announced = announce(identity.peer_id, addresses, sequence=41, sign=identity.sign)
    signed = (
        b"gossipfl announcement\n" + struct.pack("<Q", 41) + b"\n".join(each.encode() for each in addresses)
    )
    assert announced.signature == identity.sign(signed)


@pytest.mark.parametrize("dials", [True, False])
def test_the_proof_and_the_fingerprints_at_the_door(dials):
    own, other = Identity(bytes(32)), Identity(bytes([1] * 32))
    secret, h = bytes(range(32)), bytes(range(100, 132))
    session = Session(own=own.peer_id, other=other.peer_id, is_initiator=dials, binding=h, now=0.0)
    dialler, listener = (own, other) if dials else (other, own)
    content = b"gossipfl secret 1\n" + bytes([dials]) + h + dialler.public_key + listener.public_key
    proof = hmac.digest(secret, content, "sha256")
    assert SecretDoor(secret).introduction(session) == b"\1" + proof

    charter = {"b": '"x"', "a": "1"}
    written = bytes([2])
    for name in ("a", "b"):
        digest = hashlib.sha256(
            b"gossipfl charter 1\n" + h + bytes([len(name)]) + name.encode() + charter[name].encode()
        ).digest()
        written += bytes([len(name)]) + name.encode() + digest[:16]
    assert fingerprints(charter, binding=h) == written
