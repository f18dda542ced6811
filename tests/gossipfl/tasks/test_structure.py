"""Kinds and settings of a module's parts, of losses and of transforms, in fingerprints."""

import dataclasses
import functools
import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from gossipfl.fingerprints import PARTS, differing_parts, fingerprint_of
from gossipfl.layout import SharePolicy
from gossipfl.tasks import Task
from gossipfl.tasks.structure import plain, structure_of
from tests.gossipfl.training.small_tasks import blobs


def two_layers(*between, **settings):
    module = nn.Sequential(nn.Linear(16, 8), *between, nn.Linear(8, 3))
    for name, value in settings.items():
        setattr(module, name, value)
    return module


def made(model=two_layers, **changes):
    return Task(**{"name": "blobs", "model": model, "data": blobs, **changes})


def differ(one, other):
    return differing_parts(one.fingerprint, other.fingerprint)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.Tanh(), nn.ReLU()),
        (nn.Dropout(0.1), nn.Dropout(0.2)),
        (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
        (nn.LayerNorm(8, elementwise_affine=False), nn.LayerNorm(8, 1e-3, elementwise_affine=False)),
    ],
)
def test_what_no_tensor_shows_is_covered(one, other):
    tasks = [made(lambda each=each: two_layers(each)) for each in (one, other)]
    assert tasks[0].layout.digest == tasks[1].layout.digest
    assert differ(*tasks) == ("structure",)
    assert tasks[0].fingerprint == made(lambda: two_layers(type(one)(**arguments(one)))).fingerprint


def arguments(module):
    known = {nn.Dropout: ("p",), nn.LeakyReLU: ("negative_slope",), nn.LayerNorm: ("elementwise_affine",)}
    given = {name: getattr(module, name) for name in known.get(type(module), ())}
    return given | ({"normalized_shape": 8} if isinstance(module, nn.LayerNorm) else {})


def test_numbers_of_heads_are_covered():
    tasks = [
        made(lambda heads=heads: nn.TransformerEncoderLayer(8, heads, 8, dropout=0.0)) for heads in (2, 4)
    ]
    assert tasks[0].layout.digest == tasks[1].layout.digest
    assert differ(*tasks) == ("structure",)


def test_a_part_that_stays_local_may_be_any():
    def heads(*parts):
        return nn.ModuleDict({"body": nn.Linear(16, 8), "head": nn.Sequential(*parts)})

    variants = [heads(nn.Linear(8, 3)), heads(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3))]
    described = [structure_of(each, SharePolicy(local=("head.*.weight", "head.*.bias"))) for each in variants]
    assert described[0] == described[1]
    assert described[0].keys() == {"", "body"}
    named = [two_layers(classes=count) for count in (3, 5)]
    assert structure_of(named[0], SharePolicy()) != structure_of(named[1], SharePolicy())
    policy = SharePolicy(local=("classes",))
    assert structure_of(named[0], policy) == structure_of(named[1], policy)


def test_things_of_the_machine_are_left_out():
    here = two_layers(folder=Path("/here"), log=logging.getLogger("here"), place=torch.device("cpu"), _seen=1)
    assert structure_of(here, SharePolicy()) == structure_of(two_layers(), SharePolicy())


@dataclasses.dataclass(slots=True)
class Slotted:
    amount: float
    form: tuple[int, ...] = (1, 2)

    def __call__(self, outputs, targets):
        return self.amount * nn.functional.cross_entropy(outputs, targets)


class Held:
    def __init__(self, amount):
        self.amount = amount

    def loss(self, outputs, targets):
        return self.amount * nn.functional.cross_entropy(outputs, targets)


def scaled(amount):
    def loss(outputs, targets):
        return amount * nn.functional.cross_entropy(outputs, targets)

    return loss


def of_several(outputs, targets, weights):
    return sum(each * nn.functional.cross_entropy(outputs, targets) for each in weights)


class Smoothed(nn.Module):
    def __init__(self, amount):
        super().__init__()
        self.inner = nn.CrossEntropyLoss(label_smoothing=amount)

    def forward(self, outputs, targets):
        return self.inner(outputs, targets)


@pytest.mark.parametrize(
    "make",
    [
        Slotted,
        lambda amount: Held(amount).loss,
        scaled,
        Smoothed,
        lambda amount: functools.partial(of_several, weights=[amount, 0.2]),
        lambda amount: functools.partial(functools.partial(of_several, weights=(amount,))),
    ],
)
def test_settings_of_losses_are_covered_in_depth(make):
    assert differ(made(loss=make(0.5)), made(loss=make(0.25))) == ("loss",)
    assert made(loss=make(0.5)).fingerprint == made(loss=make(0.5)).fingerprint


def test_settings_of_transforms_are_covered():
    def shifting(amount):
        return lambda inputs, targets, generator: (inputs + amount, targets)

    assert differ(made(transform=shifting(0.5)), made(transform=shifting(0.25))) == ("transform",)


def test_plain_values_are_json_and_in_the_same_order_everywhere():
    class Cyclic:
        def __init__(self):
            self.me, self.names = self, {"b", "a", "c"}

    found = plain(Cyclic())
    assert json.dumps(found)
    assert found[1]["names"] == ["a", "b", "c"]
    assert plain(torch.ones(1)) is None


def test_two_fingerprints_say_in_which_parts_they_differ():
    agreed = {name: f"{name} of a task" for name in PARTS}
    whole = fingerprint_of(agreed)
    assert len(whole) == 32 and not differing_parts(whole, whole)
    for name in PARTS:
        for other in ({**agreed, name: "another"}, {key: agreed[key] for key in PARTS if key != name}):
            assert differing_parts(whole, fingerprint_of(other)) == (name,)
            assert whole[:22] != fingerprint_of(other)[:22]
