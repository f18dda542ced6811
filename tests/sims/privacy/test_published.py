"""Published formulas and exact shares beside dense matrix powers, on graphs that no paper has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.privacy.acceleration import chebyshev_weight
from sims.privacy.knowledge import knowledge_of
from sims.privacy.linear_run import averaging
from sims.privacy.published import muffliato_pairwise
from sims.privacy.sources import run_of_scenario
from sims.scenario import parse_scenario
from sims.world.networks import round_network
from topology import graphs, mixing

ACCELERATED = """
[population]
nodes = {nodes}
[task]
name = "sims.scenarios.averages:averages"
partition = "contiguous"
options = {{ nodes = {nodes} }}
[topology]
name = "{topology}"
{more}
[algorithm]
name = "muffliato"
deviation = 1.0
{gap}
[training]
enabled = false
[stop]
rounds = {rounds}
"""


def seen_by_hand(weights, observer, polynomials):
    """Rows that neighbours send to an observer: of each polynomial of W in turn, and the observer's own value."""
    around = [j for j in np.flatnonzero(weights[observer]) if j != observer]
    return [polynomial[j] for polynomial in polynomials for j in around]


def by_hand(weights, observer, polynomials):
    """Exact shares by a pseudo-inverse, the rank, and the published bound as the paper writes it."""
    n = len(weights)
    seen = seen_by_hand(weights, observer, polynomials)
    rows = np.array([np.eye(n)[observer], *seen])
    shares = np.diagonal(np.linalg.pinv(rows, rcond=1e-10) @ rows)
    bound = np.zeros(n)
    for row in seen:
        bound += row**2 / (row @ row)
    bound[observer] = 1.0
    return shares, np.linalg.matrix_rank(rows, tol=1e-9), np.minimum(bound, 1.0)


@given(
    st.integers(3, 14),
    st.integers(1, 5),
    st.integers(0, 2**31),
    st.sampled_from(["er", "star", "ring", "path"]),
)
@settings(max_examples=40, deadline=None)
def test_plain_averaging_on_any_graph(n, messages, seed, kind):
    made = {
        "er": lambda: graphs.erdos_renyi(n, 0.4, seed=seed, require_connected=False),
        "star": lambda: graphs.star(n),
        "ring": lambda: graphs.ring(n),
        "path": lambda: graphs.path(n),
    }[kind]()
    matrix = mixing.metropolis_hastings(made)
    weights, observer = matrix.toarray(), seed % n
    powers = [np.linalg.matrix_power(weights, t) for t in range(messages)]
    shares, rank, bound = by_hand(weights, observer, powers)
    run = averaging([matrix] * messages)
    known = knowledge_of(run, [observer])
    np.testing.assert_allclose(known.shares(), shares, atol=1e-6)
    assert known.rank == rank
    np.testing.assert_allclose(muffliato_pairwise(run, [observer]), bound, atol=1e-12)


@pytest.mark.parametrize(
    ("topology", "more", "nodes"),
    [("ring", "", 9), ("complete", "", 6), ("random_regular", "degree = 3\nseed = 5", 10), ("star", "", 7)],
)
@pytest.mark.parametrize("gap", [None, 0.1, 0.4, 1.0])
def test_accelerated_averaging_on_any_graph(topology, more, nodes, gap):
    """x⁺ = γWx + (1 − γ)x⁻: polynomials of W by their recursion."""
    rounds = 4
    scenario = parse_scenario(
        ACCELERATED.format(
            nodes=nodes,
            topology=topology,
            more=more,
            rounds=rounds,
            gap="" if gap is None else f"gap = {gap}",
        )
    )
    weights = round_network(scenario).sequence.matrix(0).toarray()
    if gap is not None and not np.allclose(weights, weights.T):
        pytest.skip("acceleration is for symmetric matrices")
    polynomials, before = [np.eye(nodes)], np.eye(nodes)
    for _ in range(rounds - 1):
        now = polynomials[-1]
        weight = 1.0 if gap is None else chebyshev_weight(gap)
        polynomials.append(weight * weights @ now + (1 - weight) * before)
        before = now
    run = run_of_scenario(scenario)
    for observer in (0, nodes - 1):
        shares, rank, bound = by_hand(weights, observer, polynomials)
        known = knowledge_of(run, [observer])
        np.testing.assert_allclose(known.shares(), shares, atol=1e-6)
        assert known.rank == rank
        np.testing.assert_allclose(muffliato_pairwise(run, [observer]), bound, atol=1e-9)


@pytest.mark.parametrize(("gap", "weight"), [(0.4, 1.25), (1.0, 2 * (1 - 0.75**0.5) / 0.25), (1e-9, 2.0)])
def test_the_weight_of_acceleration(gap, weight):
    assert chebyshev_weight(gap) == pytest.approx(weight, abs=1e-4)
