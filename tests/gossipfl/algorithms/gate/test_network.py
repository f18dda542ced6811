"""Eight honest nodes and a liar: with the gate, lies cost the honest at most a point of accuracy."""

import pytest

from tests.gossipfl.algorithms.gate.network import Network
from tests.lies import LIES

PERIODS = 160
LIES_A_PERIOD = 5
FIRST_LIES = 8  # before any honest model, of a liar that comes first


def accuracy(lie=None, *, begins=0, gate=True):
    network = Network(gate=gate)

    def lie_to_all(times):
        for _ in range(times):
            for node in range(len(network.nodes)):
                network.take(node, "liar", *network.lie(lie, node))

    if lie is not None and begins is None:
        lie_to_all(FIRST_LIES)
    for period in range(PERIODS):
        network.period()
        if lie is not None and period >= (begins or 0):
            lie_to_all(LIES_A_PERIOD)
    return network, 100 * float(network.accuracies().mean())


@pytest.fixture(scope="module")
def undisturbed():
    return accuracy()


@pytest.mark.slow
@pytest.mark.parametrize("begins", [None, 0, 50], ids=["first of all", "at the start", "later"])
@pytest.mark.parametrize("lie", LIES)
def test_a_liar_costs_the_honest_at_most_a_point(lie, begins, undisturbed):
    network, points = accuracy(lie, begins=begins)
    assert points >= undisturbed[1] - 1
    honest = [sender for sender, _ in network.refused if sender != "liar"]
    assert len(honest) <= 0.005 * 2 * len(network.nodes) * PERIODS


@pytest.mark.slow
def test_the_gate_costs_the_honest_nothing(undisturbed):
    _, ungated = accuracy(gate=False)
    network, points = undisturbed
    assert points >= ungated - 0.5
    assert network.refused == []


@pytest.mark.slow
def test_without_the_gate_one_lie_ends_what_all_have_learned():
    _, points = accuracy("zeros", begins=50, gate=False)
    assert points < 30
