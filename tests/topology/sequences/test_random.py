"""Randomness that every node can compute alone, and what it does on average."""

from collections import Counter
from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from topology import graphs, sequences, spectrum
from topology.errors import DirectedGraph, Disconnected, ImpossibleDegree, InvalidParameter, TooLarge
from topology.sequences.equi import partners_in_scan
from topology.sequences.keyed import (
    KeyedPermutation,
    derive_key,
    draw,
    draw_all,
    sample_all,
    sample_distinct,
)


def test_splitmix_reference_values():
    # The first outputs of SplitMix64 seeded with 1234567.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [draw(1234567, c) for c in range(4)] == expected


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**63 - 1))
@settings(max_examples=50, deadline=None)
def test_one_draw_equals_all_draws(key, counter):
    assert int(draw_all(key, [counter])[0]) == draw(key, counter)


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
@settings(max_examples=40, deadline=None)
def test_permutation_is_one_and_agrees_with_itself(n, key):
    places = KeyedPermutation(n, key)
    forward = places.forward()
    assert sorted(forward.tolist()) == list(range(n))
    assert places.backward()[forward].tolist() == list(range(n))
    for x in {0, n // 2, n - 1}:
        assert places(x) == forward[x]
        assert places.inverse(int(forward[x])) == x


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_permutations_are_equally_likely(n):
    seen = Counter(tuple(map(KeyedPermutation(n, derive_key(7, k)), range(n))) for k in range(3000))
    counts = [seen[p] for p in permutations(range(n))]
    assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(("count", "below"), [(0, 3), (1, 1), (2, 5), (3, 5), (5, 5)])
def test_samples_are_distinct_and_equally_likely(count, below):
    keys = np.array([derive_key(3, k) for k in range(6000)], dtype=np.uint64)
    sampled = sample_all(keys, count, below)
    assert sampled[:200].tolist() == [sample_distinct(int(key), count, below) for key in keys[:200]]
    seen = Counter(tuple(sorted(row)) for row in sampled.tolist())
    counts = [seen[c] for c in combinations(range(below), count)]
    assert sum(counts) == 6000
    assert len(counts) == comb(below, count)
    if len(counts) > 1:
        assert chisquare(counts).pvalue > 1e-4


def test_pairs_meet_equally_often():
    sequence, n, rounds = sequences.random_matching(8, 5), 8, 1500
    met = Counter()
    for t in range(rounds):
        for i in range(n):
            j = int(sequence.neighbours(t, i)[0])
            met[min(i, j), max(i, j)] += 1
    assert all(count % 2 == 0 for count in met.values())
    assert chisquare([met[p] // 2 for p in combinations(range(n), 2)]).pvalue > 1e-4


def test_odd_one_out_rests():
    sequence = sequences.random_matching(9, 5)
    resting = Counter()
    for t in range(900):
        alone = [i for i in range(9) if len(sequence.neighbours(t, i)) == 0]
        assert len(alone) == 1
        resting[alone[0]] += 1
    assert chisquare([resting[i] for i in range(9)]).pvalue > 1e-4


def test_epidemic_graphs_are_regular_and_uniform_over_pairs():
    n, s = 9, 4
    oracle = sequences.epidemic(n, s, 2)
    linked = np.zeros((n, n))
    rounds = 1000
    for t in range(rounds):
        W = oracle.matrix(t).toarray()
        assert ((W > 0).sum(axis=1) == s + 1).all()
        assert W.max() == 1 / (s + 1)
        linked += W > 0
    share = linked[~np.eye(n, dtype=bool)] / rounds
    assert np.abs(share - s / (n - 1)).max() < 5 * (0.25 / rounds) ** 0.5


def test_epidemic_local_sends_s_and_receives_by_chance():
    n, s = 40, 3
    local = sequences.epidemic(n, s, 2, "local")
    W = local.matrix(11).toarray()
    heard = (W > 0).sum(axis=1) - 1
    assert heard.sum() == n * s
    assert heard.std() > 0.5
    for i in range(n):
        assert len(local.recipients(11, i)) == s
        assert W[i, W[i] > 0] == pytest.approx(1 / (1 + heard[i]))


def test_no_oracle_on_an_odd_number_of_half_edges():
    with pytest.raises(ImpossibleDegree, match="mode='local'"):
        sequences.epidemic(7, 3, 0)
    with pytest.raises(ImpossibleDegree):
        sequences.epidemic(7, 7, 0)
    with pytest.raises(InvalidParameter, match="mode"):
        sequences.epidemic(7, 2, 0, "gossip")


def test_pairing_in_closed_form_is_the_scan():
    for n in range(2, 26):
        for hop in range(1, n):
            partner, free = list(range(n)), [True] * n
            for j in range(n):
                i = (j + hop) % n
                if free[i] and free[j]:
                    partner[i], partner[j] = j, i
                    free[i] = free[j] = False
            assert partners_in_scan(n, hop, np.arange(n)).tolist() == partner


def test_equi_static_is_the_average_of_basis_graphs():
    n, hops = 11, 4
    sequence = sequences.equi_static(n, hops, 3)
    W = sequence.matrix(0).toarray()
    assert np.diag(W) == pytest.approx(1 / n)
    assert np.sort(W[0])[-hops:] == pytest.approx((n - 1) / n / hops)
    assert all(W[i, j] == W[0, (j - i) % n] for i in range(n) for j in range(n))
    undirected = sequences.equi_static(n, hops, 3, directed=False).matrix(0).toarray()
    assert np.sort(undirected[0])[-hops:] == pytest.approx((n - 1) / n / hops)


def test_all_hops_together_are_exact_averaging():
    assert sequences.equi_static(9, 8, 0).matrix(0).toarray() == pytest.approx(np.full((9, 9), 1 / 9))


def test_equi_static_rate_does_not_grow_with_n():
    for directed in (True, False):
        moduli = [
            spectrum.second_eigenvalue_modulus(sequences.equi_static(n, 24, 1, directed=directed).matrix(0))
            for n in (100, 400, 1000)
        ]
        assert max(moduli) < 0.75


def test_equi_refusals():
    with pytest.raises(ImpossibleDegree, match="two ends"):
        sequences.equi_static(9, 3, 0, directed=False)
    with pytest.raises(ImpossibleDegree):
        sequences.equi_static(5, 5, 0)
    with pytest.raises(InvalidParameter, match="eta"):
        sequences.equi_dynamic(5, 0, eta=0)


@given(st.integers(3, 14), st.floats(0.2, 1), st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_matchings_partition_the_edges(n, p, seed):
    graph = graphs.erdos_renyi(n, p, seed, require_connected=False)
    matchings = sequences.matching_decomposition(graph)
    assert len(matchings) <= graph.max_degree + 1
    for pairs in matchings:
        assert len(set(pairs.ravel().tolist())) == pairs.size
    everything = sorted(map(tuple, np.concatenate(matchings).tolist())) if matchings else []
    assert everything == sorted(map(tuple, graph.edges().tolist()))


def test_complete_graphs_need_no_more_than_vizing():
    for n in (5, 6, 9):
        assert len(sequences.matching_decomposition(graphs.complete(n))) <= n


def test_matcha_with_the_whole_budget_is_the_best_constant_weight():
    graph = graphs.random_regular(12, 4, 1)
    matchings = sequences.matching_decomposition(graph)
    probabilities, alpha, rho = sequences.activation_probabilities(graph, matchings, 1.0)
    assert probabilities == pytest.approx(1, abs=1e-6)
    laplacian = 4 * np.eye(12) - graph.adjacency.toarray()
    values = np.linalg.eigvalsh(laplacian)
    assert alpha == pytest.approx(2 / (values[1] + values[-1]), abs=1e-4)
    assert rho == pytest.approx(((values[-1] - values[1]) / (values[-1] + values[1])) ** 2, abs=1e-6)


def test_matcha_spends_its_budget_where_it_connects():
    # Two triangles joined by a bridge: the matching that holds the bridge earns most.
    graph = graphs.from_edges([(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (2, 3)])
    matchings = sequences.matching_decomposition(graph)
    probabilities, _, rho = sequences.activation_probabilities(graph, matchings, 0.5)
    assert probabilities.sum() <= 0.5 * len(matchings) + 1e-9
    bridge = next(m for m, pairs in enumerate(matchings) if [2, 3] in pairs.tolist())
    assert probabilities[bridge] == max(probabilities)

    def connectivity(p):
        L = np.zeros((6, 6))
        for share, pairs in zip(p, matchings, strict=True):
            for i, j in pairs:
                L[[i, j], [i, j]] += share
                L[[i, j], [j, i]] -= share
        return np.linalg.eigvalsh(L)[1]

    best = connectivity(probabilities)
    for p in np.random.default_rng(0).dirichlet(np.ones(len(matchings)), 300) * 0.5 * len(matchings):
        assert connectivity(np.minimum(p, 1)) <= best + 1e-6
    assert 0 < rho < 1


def test_matcha_contracts_within_its_bound():
    graph = graphs.random_regular(10, 3, 2)
    matchings = sequences.matching_decomposition(graph)
    probabilities, _, rho = sequences.activation_probabilities(graph, matchings, 0.4)
    sequence = sequences.matcha(graph, 0.4, 9)
    rounds = 2000
    square = np.zeros((10, 10))
    edges = 0
    for t in range(rounds):
        W = sequence.matrix(t)
        square += (W.T @ W).toarray()
        edges += (W.nnz - np.count_nonzero(W.diagonal())) / 2
    assert np.linalg.norm(square / rounds - 0.1, 2) == pytest.approx(rho, abs=0.03)
    expected = sum(p * len(pairs) for p, pairs in zip(probabilities, matchings, strict=True))
    assert edges / rounds == pytest.approx(expected, rel=0.05)


def test_matcha_refusals():
    with pytest.raises(InvalidParameter, match="budget"):
        sequences.matcha(graphs.ring(5), 0, 1)
    with pytest.raises(DirectedGraph):
        sequences.matcha(graphs.exponential(5), 0.5, 1)
    with pytest.raises(Disconnected):
        sequences.matcha(graphs.from_edges([(0, 1), (2, 3)], require_connected=False), 0.5, 1)
    with pytest.raises(TooLarge, match="2048"):
        sequences.matcha(graphs.ring(2049), 0.5, 1)


def test_shuffling_relabels_and_changes_nothing_else():
    original = sequences.base(21, 2)
    relabelled = sequences.shuffled(original, 4)
    assert spectrum.consensus_curve(relabelled, 6) == pytest.approx(spectrum.consensus_curve(original, 6))
    W, V = original.matrix(0).toarray(), relabelled.matrix(0).toarray()
    assert not np.array_equal(W, V)
    assert np.sort(np.linalg.eigvalsh(W)) == pytest.approx(np.sort(np.linalg.eigvalsh(V)))
