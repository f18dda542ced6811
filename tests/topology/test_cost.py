"""Costs of rounds against reckoning by hand and against a plain simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import cost, graphs, mixing, sequences
from topology.errors import InvalidParameter

MEGABYTE = 1_000_000


def test_seven_neighbours_share_one_uplink():
    """20 Mbit/s send a megabyte in 0.4 s, and seven of them in 2.8 s; the last then travels 50 ms."""
    W = mixing.uniform(graphs.complete(8))
    came = cost.round_cost(W, message_bytes=MEGABYTE, bandwidth=20e6, latency=0.05)
    assert came.seconds == pytest.approx(7 * 0.4 + 0.05)
    assert (came.messages, came.bytes, came.max_degree, came.mean_degree) == (56, 56 * MEGABYTE, 7, 7.0)


def test_a_star_is_slow_at_its_centre_and_nowhere_else():
    came = cost.round_cost(graphs.star(11), message_bytes=MEGABYTE, bandwidth=8e6)
    assert came.seconds == pytest.approx(10)
    assert came.node_seconds[0] == pytest.approx(1)
    assert sorted(came.node_seconds[1:]) == pytest.approx(range(1, 11))
    shared = cost.round_cost(graphs.star(11), message_bytes=MEGABYTE, bandwidth=8e6, downlink=4e6)
    assert shared.node_seconds[0] == pytest.approx(20)


def test_the_farthest_is_sent_to_first():
    latency = np.zeros((3, 3))
    latency[0, 2] = 5
    came = cost.round_cost(graphs.star(3), message_bytes=MEGABYTE, bandwidth=8e6, latency=latency)
    assert came.node_seconds[2] == pytest.approx(1 + 5)
    assert came.node_seconds[1] == pytest.approx(2)


def test_quantities_may_be_those_of_each_node():
    rates, access = np.array([8e6, 4e6, 2e6]), np.array([0.1, 0.2, 0.3])
    came = cost.round_cost(graphs.path(3), message_bytes=MEGABYTE, bandwidth=rates, latency=access)
    assert came.node_seconds == pytest.approx([4 + 0.3, 4 + 0.5, 2 + 0.5])


def test_direction_of_a_matrix_is_receiver_then_sender():
    W = sequences.one_peer_exponential(6).matrix(0)
    latency = np.full((6, 6), 9.0)
    latency[W.toarray().T > 0] = 1.0
    assert cost.round_cost(W, message_bytes=0, bandwidth=1, latency=latency).seconds == 1


def test_a_sequence_costs_the_mean_of_its_period():
    sequence = sequences.base(6, 1)
    came = cost.sequence_cost(sequence, message_bytes=MEGABYTE, bandwidth=8e6)
    rounds = [
        cost.round_cost(sequence.matrix(t), message_bytes=MEGABYTE, bandwidth=8e6) for t in range(came.rounds)
    ]
    assert came.rounds == sequence.period == 4
    assert came.messages == np.mean([r.messages for r in rounds])
    assert came.bytes == came.messages * MEGABYTE
    assert came.longest_seconds == came.seconds == pytest.approx(1)
    random = cost.sequence_cost(sequences.epidemic(20, 3, 1), message_bytes=MEGABYTE, bandwidth=8e6, rounds=5)
    assert random.seconds == pytest.approx(3)
    assert random.mean_degree == 3


def plainly(W, size, rate, latency, downlink):
    """One event after another, in Python."""
    n = len(W)
    done, at = np.zeros(n), [[] for _ in range(n)]
    for j in range(n):
        free = 0.0
        for i in sorted((i for i in range(n) if i != j and W[i, j]), key=lambda i: -latency[j, i]):
            free += 8 * size / rate[j]
            at[i].append((free + latency[j, i] - 8 * size / rate[j], free + latency[j, i]))
    for i in range(n):
        free = 0.0
        for begins, arrives in sorted(at[i]):
            free = max(arrives, max(free, begins) + 8 * size / downlink[i])
        done[i] = free
    return done


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_arrays_reckon_as_one_event_after_another(n, seed):
    generator = np.random.default_rng(seed)
    W = mixing.uniform(graphs.complete(n))
    W.data[generator.random(W.nnz) < 0.5] = 0
    rate, downlink = generator.uniform(1e6, 1e7, (2, n))
    latency = generator.uniform(0, 2, (n, n))
    came = cost.round_cost(W, message_bytes=MEGABYTE, bandwidth=rate, latency=latency, downlink=downlink)
    expected = plainly(W.toarray(), MEGABYTE, rate, latency, downlink)
    assert came.node_seconds == pytest.approx(expected)
    assert came.seconds == pytest.approx(expected.max())


def test_round_trips_become_latencies():
    measured = np.array([[0, 20, np.nan], [40, 0, 0], [60, np.nan, 7]])
    assert cost.latency_from_round_trips(measured) == pytest.approx(
        np.array([[0, 0.010, 0.030], [0.020, 0, 0.025], [0.030, 0.025, 0]])
    )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"bandwidth": 0.0}, "not positive"),
        ({"bandwidth": np.ones(4)}, r"shape \(5,\)"),
        ({"latency": -1.0}, "negative"),
        ({"latency": np.full((5, 5), np.nan)}, "not a number"),
        ({"message_bytes": -1}, "negative"),
        ({"downlink": np.ones((5, 5))}, "own"),
    ],
)
def test_impossible_quantities_are_refused(wrong, says):
    arguments = {"message_bytes": 1, "bandwidth": 1.0, "latency": 0.0} | wrong
    with pytest.raises(InvalidParameter, match=says):
        cost.round_cost(graphs.ring(5), **arguments)
