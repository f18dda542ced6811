"""Authors' mistakes in message-driven algorithms, named alike wherever these run."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from gossipfl.algorithms import Behaviour, MessageAlgorithm, check_algorithm
from gossipfl.algorithms.author_calls import on_answer, on_clock, on_receipt, start_nodes
from gossipfl.errors import InvalidAlgorithm, SettingError
from gossipfl.training import Nodes


@dataclass(frozen=True)
class Written(MessageAlgorithm):
    """Gossip with functions of the test's own; `kept` and `seen` are its auxiliary values."""

    rule = "whatever the test says"
    behaviour = Behaviour(trains="answer", exchange="push-pull")

    act: object = None
    begin: object = None

    def start(self, nodes):
        if self.begin is not None:
            return self.begin(nodes)
        return replace(nodes, auxiliary={"kept": nodes.rows[:, :2], "seen": nodes.rows[:, 0]})

    def on_receipt(self, nodes, message, *, update):
        return self.act(nodes, update)

    def on_clock(self, nodes, *, shared_size, update):
        return self.act(nodes, update)

    def on_answer(self, nodes, message, begun, *, update):
        return self.act(nodes, update)


def first(count=3):
    return Nodes.start(torch.arange(4.0 * count).view(count, 4), optimiser_state_size=4)


def on_every_occasion(algorithm, update=lambda nodes: nodes):
    nodes = start_nodes(algorithm, first())
    message = algorithm.emit(nodes, shared_size=4)
    return {
        "on_receipt": lambda: on_receipt(algorithm, nodes, message, update=update),
        "on_clock": lambda: on_clock(algorithm, nodes, shared_size=4, update=update),
        "on_answer": lambda: on_answer(algorithm, nodes, message, nodes, update=update),
    }


def raises(nodes, update):
    return {}["velocity"]


def gives_nothing(nodes, update):
    update(nodes)


def gives_fewer(nodes, update):
    return replace(nodes, rows=nodes.rows[:2])


def gives_doubles(nodes, update):
    return nodes.with_shared(nodes.rows.double(), ages=nodes.ages)


def gives_real_ages(nodes, update):
    return replace(nodes, ages=nodes.ages / 2)


def drops(nodes, update):
    return replace(nodes, auxiliary={"kept": nodes.auxiliary["kept"]})


def widens(nodes, update):
    return replace(nodes, auxiliary={**nodes.auxiliary, "kept": nodes.rows})


def trains_a_part(nodes, update):
    return update(replace(nodes, rows=nodes.rows[:, :3]))


RAISED_AT = raises.__code__.co_firstlineno + 1
MISTAKES = {
    raises: rf"failed; got KeyError: 'velocity', at {__file__}:{RAISED_AT}$",
    gives_nothing: "must return nodes; expected Nodes; got NoneType",
    gives_fewer: r"must return rows of the form they had; expected float32 \[3, 4\] on cpu; got float32 \[2, 4\]",
    gives_doubles: r"must return rows of the form they had; expected float32 \[3, 4\] on cpu; got float64",
    gives_real_ages: r"must return ages of the form they had; expected int64 \[3\] on cpu; got float32 \[3\]",
    drops: r"must return all auxiliary values as start made them; expected kept float32 \[3, 2\] on cpu, seen "
    r"float32 \[3\] on cpu; got kept float32 \[3, 2\] on cpu\. Return \{\*\*nodes",
    widens: r"as start made them; .*; got kept float32 \[3, 4\] on cpu, seen float32 \[3\]",
    trains_a_part: r"update must be given rows of the form they had; expected .*\[3, 4\].*; got .*\[3, 3\]",
}


@pytest.mark.parametrize("occasion", ["on_receipt", "on_clock", "on_answer"])
@pytest.mark.parametrize(("act", "said"), MISTAKES.items(), ids=[each.__name__ for each in MISTAKES])
def test_mistakes_are_named_on_every_occasion(occasion, act, said):
    with pytest.raises(InvalidAlgorithm, match=rf"^Written[:,] {occasion}.*{said}"):
        on_every_occasion(Written(act))[occasion]()


def test_what_has_a_name_keeps_it():
    error = SettingError("the data are elsewhere")

    def fails(nodes):
        raise error

    for call in on_every_occasion(Written(lambda nodes, update: update(nodes)), fails).values():
        with pytest.raises(SettingError) as raised:
            call()
        assert raised.value is error


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (lambda nodes: {}["x"], rf"^Written: start failed; got KeyError: 'x', at {__file__}:\d+"),
        (lambda nodes: None, "^Written: start must return nodes; expected Nodes; got NoneType"),
        (
            lambda nodes: replace(nodes, rows=nodes.rows[:, :1]),
            r"^Written: start must return rows of the form",
        ),
        (
            lambda nodes: replace(nodes, auxiliary={"round": 0}),
            r"^Written: start must make the auxiliary values 'round' for each node; expected a tensor \[3, ...\]; "
            "got int",
        ),
        (
            lambda nodes: replace(nodes, auxiliary={"mean": torch.zeros(4)}),
            r"'mean' for each node; expected a tensor \[3, ...\]; got float32 \[4\] on cpu",
        ),
    ],
)
def test_mistakes_of_start_are_named(begin, said):
    with pytest.raises(InvalidAlgorithm, match=said):
        start_nodes(Written(begin=begin), first())


@pytest.mark.parametrize("act", MISTAKES, ids=[each.__name__ for each in MISTAKES])
def test_the_conformance_check_finds_them(act):
    problems = [each.problem for each in check_algorithm(Written(act)) if each.problem]
    assert any("Written" in problem and "on_receipt" in problem for problem in problems)


def test_updates_are_passed_on():
    def trained(nodes):
        return replace(nodes, rows=nodes.rows + 1)

    algorithm = Written(lambda nodes, update: update(update(nodes)))
    for call in on_every_occasion(algorithm, trained).values():
        np.testing.assert_array_equal(call().rows, first().rows + 2)
