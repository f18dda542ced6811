"""Masked sums in simulations: equal to the bit to plain fixed-point sums and to the protocol, and counted."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from gossipfl.secure import FixedPoint, cost_of, threshold_of
from sims.engine import RoundEngine
from sims.engine.masked_sums import MaskedSums
from sims.engine.neighbourhoods import Complete, Sparse
from sims.errors import InvalidScenario, NotSimulable
from sims.running.choice import simulation_of
from sims.scenario import parse_scenario
from sims.world import build_world
from sims.world.networks import round_network
from tests.gossipfl.secure.sums import Network, masked_sum
from topology import graphs, mixing

TEXT = """
seed = 3
[population]
nodes = 8
[task]
name = "digits"
[topology]
{topology}
[algorithm]
name = "{algorithm}"
[training]
learning_rate = 0.1
batch_size = 8
{more}
"""
RING = FixedPoint(largest=8.0)


def scenario(topology='name = "random-regular"\ndegree = 4', *, algorithm="d_psgd", more="[masked_sums]"):
    return parse_scenario(TEXT.format(topology=topology, algorithm=algorithm, more=more))


def engine(*arguments, **named):
    made = scenario(*arguments, **named)
    return RoundEngine(build_world(made), round_network(made), compile_when="never")


def rows_after(rounds, *arguments, **named):
    running = engine(*arguments, **named)
    for _ in range(rounds):
        running.run_round()
    running.close()
    return running


def lists_of(degree, n=10):
    return Sparse(mixing.metropolis_hastings(graphs.random_regular(n, degree, seed=1)))


@pytest.mark.parametrize("drop_out", [0.0, 0.3])
def test_each_sum_is_that_of_the_integers(drop_out):
    """From the definition, with Python's integers and fractions."""
    lists, sent = lists_of(4), torch.randn(10, 6, generator=torch.Generator().manual_seed(1))
    sums = MaskedSums(ring=RING, drop_out=drop_out, seed=7)
    mixed = sums.mixed(lists, sent, place=(2, 0))
    arrives, failed = sums.arrivals(lists, (2, 0)), 0
    for node in range(10):
        neighbours, weights, _ = (each[0] for each in lists.padded(np.array([node])))
        there = np.flatnonzero(arrives[node])
        if len(there) < threshold_of(4):
            failed += 1
            assert mixed[node].equal(sent[node])
            continue
        kept = lists.own_weights[node] + sum(weights[k] for k in range(4) if k not in there)
        for number in range(6):
            total = sum(
                round(Fraction(float(sent[neighbours[k], number])) * Fraction(weights[k]) * 2**RING.fraction)
                for k in there
            )
            exact = float(total) / 2**RING.fraction + float(sent[node, number]) * kept
            assert float(mixed[node, number]) == pytest.approx(exact, rel=3e-7, abs=1e-9)
    assert sums.failed == failed
    assert (failed > 0) == (drop_out > 0)


@pytest.mark.parametrize("drop_out", [0.0, 0.2])
def test_a_sum_is_to_the_bit_what_the_protocol_gives(drop_out):
    lists, sent = lists_of(5), torch.randn(10, 6, generator=torch.Generator().manual_seed(2))
    sums = MaskedSums(ring=RING, drop_out=drop_out, seed=3)
    mixed, arrives = sums.mixed(lists, sent, place=(0, 0)), sums.arrivals(lists, (0, 0))
    for node in range(10):
        neighbours, weights, _ = (each[0] for each in lists.padded(np.array([node])))
        there = arrives[node]
        if there.sum() < threshold_of(5):
            continue
        numbers = tuple(int(each) + 1 for each in neighbours)  # member 0 is the receiver
        rows = {
            number: RING.encode(sent[number - 1].numpy(), weight=float(weight))
            for number, weight in zip(numbers, weights, strict=True)
        }
        drops = {number: "mask" for number, arrived in zip(numbers, there, strict=True) if not arrived}
        total, _ = masked_sum(Network(numbers), rows, drops=drops)
        kept = 1 - sum(weight for weight, arrived in zip(weights, there, strict=True) if arrived)
        expected = (sent[node].double() * kept + torch.from_numpy(RING.decode(total))).float()
        assert (mixed[node] - expected).abs().max() <= 1.2e-7 * expected.abs().max()
        if not drop_out:
            exact = sent[node].double() * lists.own_weights[node] + torch.from_numpy(RING.decode(total))
            assert mixed[node].equal(exact.float())


@pytest.mark.parametrize(("count", "lost"), [(3, 0), (4, 1), (10, 3), (20, 6), (20, 0)])
def test_the_cost_is_that_of_the_protocols_messages(count, lost):
    numbers = tuple(range(1, count + 1))
    network, transcript = Network(numbers), []
    rows = {number: np.zeros(3, dtype=np.uint32) for number in numbers}
    masked_sum(network, rows, drops=dict.fromkeys(numbers[:lost], "mask"), transcript=transcript)
    once = [each for each in transcript if len(each) != 12]  # what is not a row
    survivors = count - lost
    # The receiver says these once in the transcript, and to each neighbour on the wire.
    repeated = (count - 1) * len(once[0]) + (survivors - 1) * (16 + 16 + threshold_of(count) * 64)
    cost = cost_of(count, survivors=survivors)
    assert cost.bytes == sum(map(len, once)) + repeated
    assert cost.messages == 4 * count + 4 * survivors


def test_a_sum_that_fails_costs_less():
    assert cost_of(4, survivors=2).messages == 16
    assert cost_of(4, survivors=2).bytes < cost_of(4, survivors=3).bytes


def test_messages_bytes_and_failures_are_counted_and_survive_a_checkpoint():
    made = scenario(more="[masked_sums]\ndrop_out = 0.2")
    world = build_world(made)

    def begun():
        return simulation_of(made, world, threads=1, compile_when="never", device="cpu")

    simulation = begun()
    simulation.advance(3, between=lambda: False)
    counts, state = simulation.counts(), simulation.state()
    simulation.advance(6, between=lambda: False)
    assert 0 < counts["failed_sums"] < 3 * 8
    size, lists = world.layout.shared_size, lists_of(4, n=8)
    rows = sum(
        int(each.sum())
        for number in range(3)
        for each in MaskedSums(ring=RING, drop_out=0.2, seed=3).arrivals(lists, (number, 0))
    )
    assert 0 < counts["bytes"] - 4 * size * rows < 3 * 8 * cost_of(4, survivors=4).bytes
    again = begun()
    again.restore(state)
    assert again.counts() == counts
    again.advance(6, between=lambda: False)
    assert again.counts() == simulation.counts()
    assert again.rows().equal(simulation.rows())
    for each in (simulation, again):
        each.close()


@pytest.mark.parametrize(
    ("topology", "algorithm"),
    [
        ('name = "complete"', "d_psgd"),
        ('name = "random-regular"\ndegree = 4', "gradient_tracking"),
        ('name = "d_cliques"\nlabels = [0, 1, 2, 3, 0, 1, 2, 3]\nclique_size = 4\nseed = 0', "d_cliques"),
    ],
    ids=["complete", "two rows a round", "cliques"],
)
def test_a_simulation_ends_where_it_ends_without_masks(topology, algorithm):
    masked = rows_after(3, topology, algorithm=algorithm)
    plain = rows_after(3, topology, algorithm=algorithm, more="")
    assert 0 < (masked.rows() - plain.rows()).abs().max() < 1e-5
    assert masked.exchanges.masked_sums.failed == 0
    assert masked.exchanges.bytes > plain.exchanges.bytes
    assert masked.exchanges.messages == 9 * plain.exchanges.messages


def test_a_shared_mask_leaves_the_other_numbers_alone():
    more = '[masked_sums]\n[[outgoing]]\nkind = "mask"\nshare = 0.25'
    masked, plain = rows_after(2, more=more), rows_after(2, more=more.replace("[masked_sums]\n", ""))
    assert 0 < (masked.rows() - plain.rows()).abs().max() < 1e-5
    assert masked.exchanges.bytes < 0.4 * rows_after(2).exchanges.bytes


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"topology": 'name = "ring"'}, "3 to 128 neighbours"),
        ({"algorithm": "sgp"}, "mass that must not be lost"),
        ({"algorithm": "clipped_gossip"}, "needs its neighbours' rows"),
        ({"algorithm": "fedavg", "topology": ""}, "a server"),
        ({"more": '[masked_sums]\n[[outgoing]]\nkind = "codec"\nname = "int8"'}, "not as int8"),
        ({"more": '[masked_sums]\n[attack]\nname = "sign_flip"\ncount = 1'}, "the attack is on rows"),
        ({"more": "[masked_sums]\nrange = 1e-4"}, "cannot hold.*masked_sums.range"),
    ],
    ids=str,
)
def test_what_masked_sums_cannot_serve_is_refused_by_name(named, words):
    with pytest.raises(NotSimulable, match=words):
        rows_after(1, **named)


def test_message_driven_algorithms_and_wrong_ranges_are_refused():
    made = scenario(algorithm="gossip_learning", topology='name = "complete"')
    with pytest.raises(NotSimulable, match="message-driven"):
        simulation_of(made, build_world(made), threads=1, compile_when="never", device="cpu")
    with pytest.raises(InvalidScenario, match="drop_out"):
        scenario(more="[masked_sums]\ndrop_out = 1.0")


def test_the_complete_graph_needs_no_matrix():
    sent = torch.randn(6, 5, generator=torch.Generator().manual_seed(4))
    sums = MaskedSums(ring=RING)
    mixed = sums.mixed(Complete(6), sent, place=(0, 0))
    matrix = Sparse(mixing.metropolis_hastings(graphs.complete(6)))
    assert (mixed - sent.mean(dim=0)).abs().max() < 1e-6
    assert (mixed - sums.mixed(matrix, sent, place=(0, 0))).abs().max() < 1e-6
