"""The one driver of rounds: exchanges in order, the nodes at the end, and authors' mistakes by name."""

from dataclasses import replace

import pytest
import torch

from gossipfl.algorithms import DPSGD, Exchange, Mixed, RoundContext, RoundInProgress, run_round
from gossipfl.errors import GossipflError, InvalidAlgorithm, SettingError
from gossipfl.training import Nodes
from tests.gossipfl.algorithms.rounds_by_hand import quadratics, start_at


class Written(DPSGD):
    """D-PSGD with another round."""

    def __init__(self, steps):
        super().__init__()
        object.__setattr__(self, "steps", steps)

    def round(self, nodes, context):
        return self.steps(nodes, context)


def nodes_of_three() -> Nodes:
    return start_at(torch.arange(6.0, dtype=torch.float64).view(3, 2))


def context(**others) -> RoundContext:
    local = quadratics(3, size=2)
    return RoundContext(local=local, shared_size=2, round=4, numbers=torch.arange(3), **others)


def twice(nodes, context):
    first = yield Exchange(nodes.rows + 1)
    second = yield Exchange(first.rows * 2)
    return nodes.with_shared(second.rows + first.sent, ages=nodes.ages)


def test_a_round_goes_from_exchange_to_exchange():
    progress = RoundInProgress(Written(twice), nodes_of_three(), context())
    rows = nodes_of_three().rows
    assert progress.number == 0
    assert progress.exchange.rows.equal(rows + 1)
    progress.answer(Mixed(rows=rows + 10, sent=rows))
    assert progress.number == 1
    assert progress.exchange.rows.equal(2 * (rows + 10))
    progress.answer(Mixed(rows=3 * rows, sent=rows))
    assert (progress.exchange, progress.number) == (None, 2)
    assert progress.nodes.rows.equal(4 * rows)


def test_at_a_go_it_is_the_same():
    seen = []

    def carry_out(exchange):
        seen.append(exchange.rows)
        return Mixed(rows=exchange.rows, sent=exchange.rows)

    after = run_round(Written(twice), nodes_of_three(), context(), carry_out)
    assert len(seen) == 2
    assert after.rows.equal(seen[1] + seen[0])


def test_nothing_is_tracked_for_gradients():
    def tracking(nodes, context):
        yield Exchange(nodes.rows.requires_grad_() * 2)
        return nodes

    assert not RoundInProgress(Written(tracking), nodes_of_three(), context()).exchange.rows.requires_grad


def no_generator(nodes, context):
    return nodes


def no_exchange(nodes, context):
    yield nodes.rows


def no_nodes(nodes, context):
    yield Exchange(nodes.rows)


def broken_at_first(nodes, context):
    yield Exchange(nodes.rows + torch.ones(7))


def broken_later(nodes, context):
    yield Exchange(nodes.rows)
    raise KeyError("velocity")


def in_another_type(nodes, context):
    mixed = yield Exchange(nodes.rows)
    return nodes.with_shared(mixed.rows.float(), ages=nodes.ages)


def in_another_shape(nodes, context):
    yield Exchange(nodes.rows)
    return nodes.with_shared(nodes.rows[:2], ages=nodes.ages)


def without_auxiliary(nodes, context):
    yield Exchange(nodes.rows)
    return replace(nodes, auxiliary={"two": nodes.rows})


RAISED_AT = broken_later.__code__.co_firstlineno + 2

MISTAKES = {
    no_generator: "round must be a generator; expected a yield; got Nodes",
    no_exchange: "round must yield exchanges; expected Exchange, LinkExchange or NeighbourRows; got Tensor",
    no_nodes: "round must return the nodes after it; expected Nodes; got NoneType",
    broken_at_first: r"Written, round 4: the algorithm failed at exchange 0; got RuntimeError: The size",
    broken_later: rf"failed at exchange 1; got KeyError: 'velocity', at {__file__}:{RAISED_AT}$",
    in_another_type: r"Written, round 4: round must return rows of the form they had; "
    r"expected float64 \[3, 2\] on cpu; got float32 \[3, 2\] on cpu",
    in_another_shape: r"rows of the form they had; expected float64 \[3, 2\] on cpu; got float64 \[2, 2\]",
    without_auxiliary: "Written, round 4: round must return all auxiliary values it began with; "
    "expected one, two; got two",
}


@pytest.mark.parametrize(("steps", "said"), MISTAKES.items(), ids=[each.__name__ for each in MISTAKES])
def test_mistakes_of_authors_are_named(steps, said):
    begun = nodes_of_three()
    begun = replace(begun, auxiliary={"one": begun.rows, "two": begun.rows})
    with pytest.raises(InvalidAlgorithm, match=said):
        run_round(Written(steps), begun, context(), lambda sent: Mixed(rows=sent.rows, sent=sent.rows))


def test_a_round_may_add_auxiliary_values():
    def adding(nodes, context):
        yield Exchange(nodes.rows)
        return replace(nodes, auxiliary={**nodes.auxiliary, "new": nodes.rows})

    begun = replace(nodes_of_three(), auxiliary={"one": torch.ones(3)})
    after = run_round(Written(adding), begun, context(), lambda sent: Mixed(rows=sent.rows, sent=sent.rows))
    assert after.auxiliary.keys() == {"one", "new"}


@pytest.mark.parametrize("error", [SettingError("that is it"), MemoryError()])
def test_what_has_a_name_keeps_it(error):
    def refusing(nodes, context):
        yield Exchange(nodes.rows)
        raise error

    with pytest.raises((GossipflError, MemoryError)) as raised:
        run_round(
            Written(refusing), nodes_of_three(), context(), lambda sent: Mixed(rows=sent.rows, sent=sent.rows)
        )
    assert raised.value is error
