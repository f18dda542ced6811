"""Curves and rates of circulant sequences, by Fourier transforms and by products of their matrices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from topology import graphs, mixing, sequences, spectrum
from topology.spectrum.shifts import circulant_factors


def plain_curve(sequence, rounds, start=0):
    """‖(I − J) W_t … W_1‖²_F / n by dense products."""
    n = sequence.n
    P, found = np.eye(n) - 1 / n, []
    for t in range(start, start + rounds + 1):
        found.append((P**2).sum() / n)
        P = sequence.matrix(t).toarray() @ P
    return np.array(found)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 40), k=st.integers(1, 5), start=st.integers(0, 4))
def test_curves_and_rates_are_those_of_the_matrices(n, k, start):
    sequence = sequences.k_peer_exponential(n, min(k, n - 1))
    assert circulant_factors(sequence) is not None
    curve = spectrum.consensus_curve(sequence, 9, start=start)
    assert np.allclose(curve, plain_curve(sequence, 9, start), rtol=1e-9, atol=1e-14)
    P = np.eye(n)
    for t in range(sequence.period):
        P = sequence.matrix(t).toarray() @ P
    left = np.linalg.norm(P - P.mean(axis=0), 2) ** 2
    rate = spectrum.mixing_rate(sequence)
    assert rate.kind == "exact"
    assert rate.p == pytest.approx(1 - left, abs=1e-12)


def test_a_ring_and_a_directed_ring_are_circulant_and_others_are_not():
    ring = sequences.static(mixing.metropolis_hastings(graphs.ring(12)))
    hops = csr_array(0.7 * np.eye(9) + 0.3 * np.roll(np.eye(9), 1, axis=1))
    for sequence in (ring, sequences.static(hops)):
        assert circulant_factors(sequence) is not None
        assert np.allclose(spectrum.consensus_curve(sequence, 20), plain_curve(sequence, 20), atol=1e-14)
    uneven = hops.toarray()
    uneven[4, 4], uneven[4, 5] = 0.6, 0.4
    for sequence in (
        sequences.static(mixing.metropolis_hastings(graphs.torus([4, 5]))),
        sequences.static(mixing.metropolis_hastings(graphs.random_regular(12, 3, 0))),
        sequences.static(csr_array(uneven)),
        sequences.base(12, 2),
        sequences.random_matching(12, 0),
    ):
        assert circulant_factors(sequence) is None


def test_renumbered_nodes_come_to_the_same_by_products():
    one_peer = sequences.one_peer_exponential(24)
    renumbered = sequences.shuffled(one_peer, seed=3)
    assert circulant_factors(renumbered) is None
    curves = (spectrum.consensus_curve(sequence, 12) for sequence in (one_peer, renumbered))
    assert np.allclose(*curves, rtol=1e-10, atol=1e-14)
    assert spectrum.mixing_rate(one_peer).p == pytest.approx(spectrum.mixing_rate(renumbered).p, abs=1e-12)
    assert spectrum.consensus_curve(sequences.one_peer_exponential(32), 6)[-1] == 0
