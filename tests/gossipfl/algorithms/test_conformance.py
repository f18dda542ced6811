"""The conformance test: every bundled algorithm passes, and each way to break one is found and named."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import pytest
import torch

from gossipfl.algorithms import (
    Exchange,
    MessageAlgorithm,
    Parameter,
    RoundAlgorithm,
    algorithm_names,
    check_algorithm,
    find_algorithm,
    make_algorithm,
)
from gossipfl.algorithms.description import example_settings
from gossipfl.algorithms.gossip.sharing import Sharing

OTHERS = [
    ("choco", {"codec": "top:0.5", "consensus_step_size": 0.5}),
    ("choco", {"codec": "random:0.5", "restart_every": 2}),
    ("deep_squeeze", {"codec": "qsgd:8"}),
    ("d_psgd", {"order": "both-at-once"}),
    ("d_psgd", {"order": "combine-then-adapt"}),
    ("epidemic_learning", {"degree": 2, "variant": "local"}),
    ("gradient_tracking", {"order": "combine-then-adapt"}),
    ("dfedavg", {"epochs": 0}),
    ("fedavg", {"weighting": "nodes"}),
    ("gossip_learning", {"merge": "UM", "merge_limit": 1}),
    ("gossip_learning", {"sharing": {"kind": "partitioned", "parts": 3}}),
    ("gossip_learning", {"sharing": {"kind": "subsampled", "parts": 3}}),
    ("push_sum", {"steps_of": "model"}),
]


def problems(algorithm) -> dict[str, str]:
    return {each.check: each.problem for each in check_algorithm(algorithm) if each.problem}


@pytest.mark.parametrize("name", algorithm_names())
def test_every_algorithm_conforms(name):
    findings = check_algorithm(make_algorithm(name, example_settings(find_algorithm(name))))
    assert len(findings) >= 4
    assert [each for each in findings if each.problem] == []


@pytest.mark.parametrize(("name", "parameters"), OTHERS, ids=str)
def test_it_conforms_with_other_parameters(name, parameters):
    assert problems(make_algorithm(name, parameters)) == {}


@dataclass(frozen=True)
class Averaging(RoundAlgorithm):
    """Train, and average: right, until a subclass breaks it."""

    rule = "X ← W(X − ηG)"
    step: Annotated[float, Parameter("how far", gt=0, le=1)] = 1.0

    def sent(self, trained, context):
        return trained.rows[:, : context.shared_size]

    def round(self, nodes, context):
        trained = context.local.update(nodes)
        mixed = yield Exchange(self.sent(trained, context))
        return self.ended(trained, mixed.rows)

    def ended(self, trained, rows):
        return trained.with_shared(rows, ages=trained.ages)


class Growing(Averaging):
    def ended(self, trained, rows):
        path = trained.auxiliary.get("path", rows[:, :0])
        return replace(super().ended(trained, rows), auxiliary={"path": torch.cat([path, rows], dim=1)})


class Narrowing(Averaging):
    def ended(self, trained, rows):
        return replace(trained, rows=super().ended(trained, rows).rows.float())


class Exploding(Averaging):
    def ended(self, trained, rows):
        return super().ended(trained, rows / 0)


class Drawing(Averaging):
    def ended(self, trained, rows):
        return super().ended(trained, rows + torch.rand(1, dtype=rows.dtype))


class InPlace(Averaging):
    def round(self, nodes, context):
        mixed = yield Exchange(self.sent(nodes, context))
        nodes.rows[:, : context.shared_size] = mixed.rows
        return context.local.update(nodes)


class Leaking(Averaging):
    def sent(self, trained, context):
        return trained.rows

    def ended(self, trained, rows):
        return replace(trained, rows=rows)


class Forgetting(Averaging):
    def round(self, nodes, context):
        trained = context.local.update(nodes)
        mixed = yield Exchange(self.sent(trained, context))
        return replace(nodes.with_shared(mixed.rows, ages=trained.ages), steps=trained.steps)


class Patient(Averaging):
    def round(self, nodes, context):
        trained = context.local.update(nodes, steps=2 + context.numbers % 2)
        mixed = yield Exchange(self.sent(trained, context))
        return self.ended(trained, mixed.rows)


class Changing(Averaging):
    def sent(self, trained, context):
        rows = trained.rows[:, : context.shared_size]
        return torch.cat([rows, rows], dim=1) if context.round % 2 else rows

    def ended(self, trained, rows):
        return super().ended(trained, rows[:, :6])


class FirstIsSpecial(Averaging):
    def ended(self, trained, rows):
        return super().ended(trained, torch.cat([rows[:1] * 0.9, rows[1:]]))


class LookingAround(Averaging):
    def ended(self, trained, rows):
        return super().ended(trained, rows - trained.rows[:, :6].mean(dim=0))


class Shrinking(Averaging):
    def ended(self, trained, rows):
        return super().ended(trained, rows * 0.99)


class Raising(Averaging):
    def ended(self, trained, rows):
        raise KeyError("momentum")


@pytest.mark.parametrize(
    ("broken", "check", "words"),
    [
        (Growing, "shapes and dtypes stay", "auxiliary rows .* became"),
        (Narrowing, "shapes and dtypes stay", "expected float64 .*; got float32"),
        (Exploding, "shapes and dtypes stay", "NaN or infinite"),
        (Drawing, "the same start gives the same end", "two runs"),
        (InPlace, "it changes nothing that it is given", "rows"),
        (Leaking, "what stays local", "without any training"),
        (Forgetting, "what stays local", r"steps of `context.local`.*; got numbers up to"),
        (Changing, "every round exchanges the same shapes", "12"),
        (FirstIsSpecial, "nodes in another order", "differ by"),
        (LookingAround, "a node alone", "node 0 ends"),
        (Shrinking, "the mean of all models stays", "declare preserves_mean = False"),
        (Raising, "shapes and dtypes stay", "failed at exchange 1.*KeyError"),
    ],
)
def test_what_breaks_the_contract_is_named(broken, check, words):
    frozen = dataclass(frozen=True)(broken)
    found = [problem for name, problem in problems(frozen()).items() if check in name]
    assert len(found) == 1
    assert re.search(words, found[0]), found[0]


def test_a_declaration_that_may_change_is_not_one():
    changing = dataclass(type("Changeable", (RoundAlgorithm,), {"round": Averaging.round}))
    assert "frozen dataclass" in problems(changing())["its declaration is complete"]


def test_the_right_one_conforms_and_a_mean_that_moves_may_be_declared():
    assert problems(Averaging()) == {}
    declared = dataclass(frozen=True)(type("Declared", (Shrinking,), {"preserves_mean": False}))
    assert problems(declared()) == {}


@pytest.mark.parametrize(
    "name", ["noloco:NoLoCo", "balance:Balance", "decentlam:DecentLaM", "momentum_gossip:MomentumGossip"]
)
def test_the_algorithms_of_the_documentation_conform(name, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[3] / "examples")
    assert problems(make_algorithm(name)) == {}


def test_an_algorithm_may_choose_how_many_steps_each_node_does():
    assert problems(dataclass(frozen=True)(Patient)()) == {}


@dataclass(frozen=True)
class Mean(MessageAlgorithm):
    """Half of each."""

    rule = "x ← U((x + y)/2)"
    sharing: Sharing = field(default_factory=Sharing)

    def on_receipt(self, nodes, message, *, update):
        mean = torch.lerp(nodes.rows[:, : message.size], message.shared, 0.5)
        return update(nodes.with_shared(self.wrong(mean), ages=torch.maximum(nodes.ages, message.ages)))

    def wrong(self, mean):
        return mean


class MixingRows(Mean):
    def wrong(self, mean):
        return mean - mean.mean(dim=0)


class InPlaceMean(Mean):
    def on_receipt(self, nodes, message, *, update):
        nodes.rows[:, : message.size] = message.shared
        return update(nodes)


class Younger(Mean):
    def on_receipt(self, nodes, message, *, update):
        return update(nodes.with_shared(message.shared, ages=nodes.ages * 0))


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (MixingRows, "on receipt: a node alone"),
        (InPlaceMean, "on receipt: it changes nothing"),
        (Younger, "on receipt: shapes"),
    ],
)
def test_messages_are_checked_too(broken, check):
    assert problems(Mean()) == {}
    assert any(check in name for name in problems(dataclass(frozen=True)(broken)()))
