"""Numbers from the literature and from the definitions in float64."""

import numpy as np
import pytest

from topology import graphs, mixing, sequences, spectrum

mh = mixing.metropolis_hastings


def fixed(graph):
    return sequences.static(mh(graph), name=graph.name)


@pytest.mark.parametrize(
    ("n", "ring", "torus", "star", "exponential"),
    [
        (16, 0.050747, 0.4, 0.0625, 0.4),
        (64, 0.003210, 0.117157, 0.015625, 0.285714),
        (100, 0.001316, 0.076393, 0.01, 0.25),
    ],
)
def test_spectral_gaps(n, ring, torus, star, exponential):
    side = round(n**0.5)
    assert spectrum.spectral_gap(mh(graphs.ring(n))) == pytest.approx(ring, abs=5e-7)
    assert spectrum.spectral_gap(mh(graphs.torus((side, side)))) == pytest.approx(torus, abs=5e-7)
    assert spectrum.spectral_gap(mh(graphs.star(n))) == pytest.approx(star, abs=1e-12)
    assert spectrum.spectral_gap(mixing.uniform(graphs.exponential(n))) == pytest.approx(
        exponential, abs=5e-7
    )
    assert spectrum.spectral_gap(mh(graphs.complete(n))) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("dimension", "gap"), [(4, 0.4), (6, 0.285714)])
def test_spectral_gap_of_hypercube(dimension, gap):
    assert spectrum.spectral_gap(mh(graphs.hypercube(dimension))) == pytest.approx(gap, abs=5e-7)


@pytest.mark.parametrize(
    ("n", "degree", "mean", "deviation"),
    [(96, 3, 0.945, 0.008), (100, 4, 0.871, 0.010), (100, 20, 0.404, 0.009)],
)
def test_second_eigenvalue_of_random_regular_graphs(n, degree, mean, deviation):
    found = [
        spectrum.second_eigenvalue_modulus(mh(graphs.random_regular(n, degree, seed))) for seed in range(50)
    ]
    # Two independent means of 50 differ by five times deviation·√(2/50) once in a million.
    assert np.mean(found) == pytest.approx(mean, abs=5 * deviation * (2 / 50) ** 0.5 + 5e-4)
    assert deviation / 2 < np.std(found) < 2 * deviation


@pytest.mark.parametrize(("n", "left"), [(15, 0.0625), (24, 0.2073), (25, 0.1921)])
def test_one_peer_exponential_is_inexact_off_powers_of_two(n, left):
    sequence = sequences.one_peer_exponential(n)
    product = np.eye(n)
    for t in range(sequence.period):
        product = sequence.matrix(t) @ product
    assert np.linalg.norm(product - 1 / n, 2) == pytest.approx(left, abs=5e-5)


CURVES = [
    (fixed(graphs.ring(25)), [0.2933, 0.1946, 0.1534, 0.1116, 0.0682], 267),
    (fixed(graphs.torus((5, 5))), [0.16, 0.0576, 0.0256, 6.40e-3, 2.48e-4], 19),
    (
        sequences.static(mixing.uniform(graphs.exponential(25))),
        [0.1267, 0.0233, 4.88e-3, 2.47e-4, 1.92e-7],
        9,
    ),
    (sequences.one_peer_exponential(25), [0.46, 0.21, 0.085, 4.92e-3, 1.29e-4], 19),
    (sequences.base(25, 1), [0.48, 0.24, 0.12, 0.0328, 0], 9),
    (sequences.base(25, 4), [0.16, 0, 0, 0, 0], 2),
]


@pytest.mark.parametrize(("sequence", "left", "rounds"), CURVES, ids=[c[0].name for c in CURVES])
def test_consensus_curves_of_25_nodes(sequence, left, rounds):
    curve = spectrum.consensus_curve(sequence, 10)
    assert curve[0] == pytest.approx(0.96)
    for t, value in zip((1, 2, 3, 5, 10), left, strict=True):
        assert curve[t] == pytest.approx(value, rel=5e-3, abs=1e-14)
    assert spectrum.rounds_to_consensus(sequence, 1e-6) == rounds


@pytest.mark.parametrize(("gamma", "ring", "hypercube"), [(0.9, 6.63, 19.64), (0.99, 17.08, 30.01)])
def test_effective_neighbours(gamma, ring, hypercube):
    assert spectrum.effective_neighbours(mh(graphs.ring(32)), gamma) == pytest.approx(ring, abs=5e-3)
    assert spectrum.effective_neighbours(mh(graphs.hypercube(5)), gamma) == pytest.approx(hypercube, abs=5e-3)


@pytest.mark.parametrize(("s", "oracle", "local"), [(3, 0.2421, 0.3075), (7, 0.1158, 0.1322)])
def test_epidemic_contraction(s, oracle, local):
    assert sequences.epidemic(96, s, 0).expected_contraction == pytest.approx(oracle, abs=5e-5)
    assert sequences.epidemic(96, s, 0, "local").expected_contraction == pytest.approx(local, abs=5e-5)


@pytest.mark.parametrize(("eta", "distance"), [(0.1, 5.897387), (0.01, 0.331913)])
def test_fixed_point_of_dsgd_on_a_ring(eta, distance):
    X = spectrum.dsgd_fixed_point(mh(graphs.ring(16)), eta, np.arange(16) - 7.5)
    assert spectrum.consensus_distance(X) == pytest.approx(distance, abs=5e-7)


def test_noise_floor_of_dsgd_on_a_ring():
    floor = spectrum.dsgd_noise_floor(mh(graphs.ring(25)), 0.1)
    assert floor.kind == "exact"
    assert floor.value == pytest.approx(0.008022, abs=5e-7)


def test_variance_ratios_of_pairwise_averaging():
    ratios = [
        (spectrum.pairwise_variance_ratio(name), expected)
        for name, expected in (("sequential", 0.303), ("random pairs", 0.368), ("perfect matching", 0.25))
    ]
    for prediction, expected in ratios:
        assert prediction.kind == "asymptotic"
        assert prediction.value == pytest.approx(expected, abs=5e-4)
