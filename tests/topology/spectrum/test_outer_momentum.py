"""Outer momentum: published radii, the moments of simulated rounds, and what momentum does to graphs."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from topology import graphs, mixing, sequences, spectrum
from topology.advice import advise_outer
from topology.errors import InvalidParameter, TooLarge
from topology.sequences.colouring import matching_decomposition
from topology.sequences.matcha import activation_probabilities
from topology.sequences.sequence import RuleSequence
from topology.spectrum import (
    fastest_outer_rate,
    largest_outer_rate,
    outer_consensus_factor,
    outer_moments,
    recommended_outer_step,
)


def pairs(n):
    return sequences.random_matching(n, 1)


def of_graph(graph):
    return sequences.static(mixing.metropolis_hastings(graph))


@pytest.mark.parametrize(
    ("n", "momentum", "radius"),
    [
        (8, 0.0, 0.48),
        (8, 0.3, 0.504156),
        (8, 0.5, 0.668435),
        (8, 0.9, 1.071766),
        (16, 0.0, 0.514667),
        (16, 0.3, 0.529516),
        (16, 0.5, 0.685146),
        (16, 0.9, 1.086154),
    ],
)
def test_second_moments_over_random_pairs_are_those_computed_from_the_definition(n, momentum, radius):
    assert outer_consensus_factor(pairs(n), 0.7, momentum) == pytest.approx(radius, abs=6e-7)


def test_a_large_momentum_diverges_from_four_nodes_on_and_half_of_it_does_not():
    assert outer_consensus_factor(pairs(2), 0.7, 0.9) == pytest.approx(0.9)
    for n in (4, 6, 8, 16, 64, 512):
        assert outer_consensus_factor(pairs(n), 0.7, 0.9) > 1
        assert outer_consensus_factor(pairs(n), 0.7, 0.5) < 0.7


def test_the_fastest_rate_of_eight_nodes():
    step = fastest_outer_rate(pairs(8), 0.5)
    assert step.rate == pytest.approx(0.27, abs=0.01)
    assert step.factor == pytest.approx(0.5957, abs=5e-5)


@pytest.mark.parametrize("n", [2, 3, 7, 8, 16])
def test_without_momentum_it_is_plain_gossip(n):
    assert outer_consensus_factor(pairs(n), 1.0, 0.0) == pytest.approx(
        pairs(n).expected_contraction, abs=1e-12
    )


def simulated(sequence_of, n, eta, mu, *, rounds, samples=1500):
    """Moments (V, C, M) after each round of many runs, over disagreement, from phi at random and m = 0."""
    generator = np.random.default_rng(0)
    phi = generator.normal(size=(samples, n))
    phi -= phi.mean(axis=1, keepdims=True)
    m, found = np.zeros_like(phi), []
    for t in range(rounds + 1):
        found.append([(phi * phi).sum(1).mean(), (phi * m).sum(1).mean(), (m * m).sum(1).mean()])
        mixed = np.stack([W @ row for W, row in zip(sequence_of(generator, t), phi, strict=True)])
        m = mu * m + eta * (mixed - phi)
        phi = phi + m
    return np.array(found)


def uniform_pairs(n, samples=1500):
    def matrices(generator, t):
        for _ in range(samples):
            order = generator.permutation(n)
            W = np.eye(n)
            for i, j in order[: n // 2 * 2].reshape(-1, 2):
                W[[i, i, j, j], [i, j, i, j]] = 0.5
            yield W

    return matrices


@pytest.mark.parametrize(("n", "eta", "mu"), [(16, 0.7, 0.5), (7, 1.0, 0.3), (4, 0.7, 0.9)])
def test_the_map_of_moments_is_that_of_simulated_rounds(n, eta, mu):
    """Of 1,500 runs, whose means are within 3 % of the moments that they estimate or so."""
    found = simulated(uniform_pairs(n), n, eta, mu, rounds=4)
    mean = n / (2 * (n - 1)) if n % 2 == 0 else 0.5
    step = outer_moments(eta, mu, mean=mean)
    expected = [found[0]]
    for _ in range(4):
        expected.append(step @ expected[-1])
    assert found == pytest.approx(np.array(expected), rel=0.08, abs=0.06 * found[0, 0])


def test_regular_random_graphs_have_moments_too():
    n, degree, eta, mu = 10, 3, 0.8, 0.4
    drawn = [sequences.epidemic(n, degree, seed) for seed in range(300)]

    def matrices(generator, t):
        yield from (each.matrix(t).toarray() for each in drawn)

    found = simulated(matrices, n, eta, mu, rounds=3, samples=300)
    own = 1 / (degree + 1)
    mean = n * (1 - own) / (n - 1)
    step = outer_moments(eta, mu, mean=mean, square=2 * mean - 1 + drawn[0].expected_contraction)
    expected = np.linalg.matrix_power(step, 3) @ found[0]
    assert found[3] == pytest.approx(expected, rel=0.15, abs=0.03 * found[0, 0])
    radius = np.abs(np.linalg.eigvals(step)).max()
    assert outer_consensus_factor(drawn[0], eta, mu) == pytest.approx(radius, rel=1e-9)


def test_squares_are_not_means_where_matrices_are_no_projections():
    """One random hop a round, with a weight of 0.3: the mean over its eight matrices, each as likely."""
    sequence, eta, mu = sequences.equi_dynamic(9, 1, eta=0.3), 0.8, 0.4
    pulls = {W.tobytes(): np.eye(9) - W for W in (sequence.matrix(t).toarray() for t in range(200))}.values()
    assert len(pulls) == 8
    apart = np.eye(9) - 1 / 9
    mean, square = (np.mean([*each], axis=0) for each in (pulls, [P.T @ P for P in pulls]))
    assert mean == pytest.approx(mean[0, 0] * 9 / 8 * apart)
    assert square == pytest.approx(square[0, 0] * 9 / 8 * apart)
    step = outer_moments(eta, mu, mean=mean[0, 0] * 9 / 8, square=square[0, 0] * 9 / 8)
    radius = np.abs(np.linalg.eigvals(step)).max()
    assert outer_consensus_factor(sequence, eta, mu) == pytest.approx(radius, rel=1e-9)


def radius_of_moments(n, eta, mu, pulls, probabilities):
    """Of the whole map of second moments, E[A ⊗ A] for all matrices and their probabilities, as by definition."""
    apart, total = np.eye(n) - 1 / n, np.zeros((4 * n * n, 4 * n * n))
    for pull, probability in zip(pulls, probabilities, strict=True):
        A = np.block([[apart - eta * pull, mu * apart], [-eta * pull, mu * apart]])
        total += probability * np.kron(A, A)
    state = np.kron(np.eye(2 * n), np.eye(2 * n))[:, 0] + np.eye(2 * n).ravel()
    for _ in range(400):
        before, state = np.linalg.norm(state), total @ state
        radius, state = np.linalg.norm(state) / before, state / np.linalg.norm(state)
    return radius


@pytest.mark.parametrize(("eta", "mu"), [(1.0, 0.0), (0.8, 0.6)])
@pytest.mark.parametrize("kind", ["matcha", "pairs of a random hop"])
def test_random_matrices_of_other_kinds_are_estimated(kind, eta, mu):
    n = 5
    if kind == "matcha":
        graph, budget = graphs.star(n), 0.4
        sequence = sequences.matcha(graph, budget, 3)
        matchings = matching_decomposition(graph)
        often, alpha, _ = activation_probabilities(graph, matchings, budget)
        pulls, probabilities = [], []
        for on in itertools.product([0, 1], repeat=len(matchings)):
            pull = np.zeros((n, n))
            for pairs_on in (pairs for pairs, is_on in zip(matchings, on, strict=True) if is_on):
                for i, j in pairs_on:
                    pull[[i, j], [i, j]] += alpha
                    pull[[i, j], [j, i]] -= alpha
            pulls.append(pull)
            probabilities.append(np.prod([p if is_on else 1 - p for p, is_on in zip(often, on, strict=True)]))
    else:
        sequence = sequences.equi_dynamic(n, 1, directed=False, eta=0.8)
        drawn = Counter(sequence.matrix(t).toarray().tobytes() for t in range(20_000, 22_000))
        pulls = [np.eye(n) - np.frombuffer(W).reshape(n, n) for W in drawn]
        probabilities = [count / 2000 for count in drawn.values()]
    expected = radius_of_moments(n, eta, mu, pulls, probabilities)
    assert outer_consensus_factor(sequence, eta, mu) == pytest.approx(expected, rel=0.06)


def test_an_estimate_is_near_a_factor_that_is_known():
    known = pairs(16)
    unknown = dataclasses.replace(known, expected_contraction=None)
    for eta, mu in ((1.0, 0.0), (0.7, 0.5), (0.7, 0.9)):
        found = outer_consensus_factor(unknown, eta, mu)
        assert found == pytest.approx(outer_consensus_factor(known, eta, mu), rel=0.05)
    found, exact = recommended_outer_step(unknown), recommended_outer_step(known)
    assert found.progress == pytest.approx(exact.progress, rel=0.1)


def test_where_all_agree_nothing_is_left_to_estimate():
    W = csr_array(np.full((4, 4), 0.25))
    everybody = RuleSequence(name="all with all", n=4, period=None, degree=3, make=lambda t: W.copy())
    assert outer_consensus_factor(everybody, 1.0, 0.0) == 0.0
    assert outer_consensus_factor(everybody, 1.0, 0.5) == pytest.approx(0.5, rel=0.1)


SEQUENCES = [
    of_graph(graphs.ring(6)),
    sequences.static(np.eye(6)[[1, 0, 3, 2, 5, 4]] * 0.5 + 0.5 * np.roll(np.eye(6), 1, 0)),
    sequences.one_peer_exponential(8),
    of_graph(graphs.complete(5)),
    sequences.static(1 - np.eye(2)),
]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(SEQUENCES), st.floats(0.05, 2.5), st.floats(0, 0.95))
def test_matrices_that_repeat_have_the_radius_of_their_product(sequence, eta, mu):
    """Independently: the whole map on slow weights and momenta, without what all share."""
    n, state = sequence.n, np.eye(2 * sequence.n)
    for t in range(sequence.period):
        pull = -eta * (np.eye(n) - sequence.matrix(t).toarray())
        state = np.block([[np.eye(n) + pull, mu * np.eye(n)], [pull, mu * np.eye(n)]]) @ state
    radii = sorted(np.abs(np.linalg.eigvals(state)))
    shared = [1.0, mu**sequence.period]  # of the mean of slow weights, and of momenta
    for value in shared:
        radii.pop(int(np.abs(np.array(radii) - value).argmin()))
    expected = max(radii) ** (2 / sequence.period)
    assert outer_consensus_factor(sequence, eta, mu) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 20), st.floats(0, 0.9))
def test_one_graph_is_stable_up_to_its_largest_eigenvalue(n, mu):
    """z² − (1 + μ − ηλ) z + μ has its roots in the unit disc while ηλ < 2(1 + μ)."""
    sequence = of_graph(graphs.ring(n))
    largest = 1 - np.linalg.eigvalsh(sequence.matrix(0).toarray())[0]
    limit = 2 * (1 + mu) / largest
    step = largest_outer_rate(sequence, mu, most=100.0)
    assert step.rate == pytest.approx(limit, rel=1e-3)


def test_momentum_speeds_a_ring_up_and_random_pairs_not():
    ring, matchings = of_graph(graphs.ring(16)), pairs(16)
    assert fastest_outer_rate(ring, 0.5).factor < 0.6 * fastest_outer_rate(ring, 0.0).factor
    assert fastest_outer_rate(matchings, 0.5).factor > fastest_outer_rate(matchings, 0.0).factor


@pytest.mark.parametrize(
    "sequence", [pairs(8), pairs(16), of_graph(graphs.ring(12)), *SEQUENCES[2:4]], ids=str
)
def test_the_recommended_step_is_the_farthest_that_halves_in_two_rounds(sequence):
    step = recommended_outer_step(sequence)
    assert step.factor**2 <= 0.5 + 1e-6
    assert step.factor == pytest.approx(outer_consensus_factor(sequence, step.rate, step.momentum))
    for mu in np.arange(0, 100, 10) / 100:
        for eta in (0.1, 0.25, 0.5, 0.75, 1.0):
            if outer_consensus_factor(sequence, float(eta), float(mu)) ** 2 < 0.5:
                assert eta / (1 - mu) <= step.progress + 1e-4


def test_advice_leaves_nine_tenths_of_the_time_to_steps():
    found = advise_outer(pairs(16), message_bytes=6_000_000, bandwidth=20e6, latency=0.02, step_seconds=0.5)
    exchange = 6e6 * 8 / 20e6 + 0.02
    assert found.cost.seconds == pytest.approx(exchange)
    H = found.local_steps
    assert exchange / (exchange + 0.5 * H) <= 0.1 < exchange / (exchange + 0.5 * (H - 1))
    assert advise_outer(pairs(16), message_bytes=1, bandwidth=1e6).local_steps is None
    by_momentum = {each.momentum: each for each in found.choices}
    assert by_momentum[0.9].stable_below < 0.7 < by_momentum[0.5].stable_below


def test_what_is_not_known_or_out_of_range_is_named():
    with pytest.raises(InvalidParameter, match="second moments is not known"):
        outer_consensus_factor(sequences.epidemic(6, 2, 1, "local"), 0.7, 0.5)
    with pytest.raises(InvalidParameter, match="momentum is out of range"):
        outer_consensus_factor(pairs(8), 0.7, 1.0)
    with pytest.raises(InvalidParameter, match="rate is out of range"):
        outer_moments(0.0, 0.5, mean=0.5)
    with pytest.raises(TooLarge):
        outer_consensus_factor(sequences.one_peer_exponential(300), 0.7, 0.5)
    assert spectrum.outer_consensus_factor(of_graph(graphs.complete(1)), 0.7, 0.5) == 0.0
