import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import graphs, mixing, sequences, spectrum
from topology.errors import InvalidParameter
from topology.spectrum import consensus

mh = mixing.metropolis_hastings


@given(st.integers(2, 30), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_curve_is_the_definition(n, seed):
    sequence = sequences.epidemic(n, 1, seed, "local")
    curve = spectrum.consensus_curve(sequence, 4)
    product = np.eye(n)
    for t in range(4):
        product = sequence.matrix(t).toarray() @ product
        centred = product - product.mean(axis=0)
        assert curve[t + 1] == pytest.approx((centred**2).sum() / n)


def test_curve_is_the_mean_over_random_starts():
    sequence = sequences.base(21, 2)
    X = np.random.default_rng(0).standard_normal((21, 20_000))
    for expected in spectrum.consensus_curve(sequence, 3)[:1]:
        assert np.mean([spectrum.consensus_distance(X)]) / 20_000 == pytest.approx(expected, rel=0.02)
    for t in range(3):
        X = sequence.matrix(t) @ X
        expected = spectrum.consensus_curve(sequence, t + 1)[-1]
        assert spectrum.consensus_distance(X) / 20_000 == pytest.approx(expected, rel=0.03)


def test_probing_agrees_with_the_exact_curve(monkeypatch):
    sequence = sequences.static(mh(graphs.random_regular(400, 4, 2)))
    exact = spectrum.consensus_curve(sequence, 12)
    monkeypatch.setattr(consensus, "EXACT_NODES", 10)
    probed = spectrum.consensus_curve(sequence, 12, probes=256)
    assert probed == pytest.approx(exact, rel=0.1)
    assert not np.array_equal(probed, exact)


def test_exact_up_to_4096_nodes():
    assert spectrum.EXACT_NODES == 4096


def test_eigenvalues_and_stepping_count_the_same_rounds(monkeypatch):
    for graph in (graphs.ring(12), graphs.star(9), graphs.torus((4, 6)), graphs.complete(5), graphs.ring(2)):
        sequence = sequences.static(mh(graph))
        by_eigenvalues = spectrum.rounds_to_consensus(sequence, 1e-5)
        monkeypatch.setattr(consensus, "_EIGENVALUE_NODES", 0)
        assert spectrum.rounds_to_consensus(sequence, 1e-5) == by_eigenvalues
        monkeypatch.undo()


def test_no_consensus_is_none():
    apart = sequences.static(mh(graphs.from_edges([(0, 1), (2, 3)], require_connected=False)))
    assert spectrum.rounds_to_consensus(apart) is None
    assert spectrum.rounds_to_consensus(sequences.one_peer_exponential(25), 1e-9, limit=5) is None


def test_trivial_cases():
    assert spectrum.rounds_to_consensus(sequences.base(1, 1)) == 0
    assert spectrum.consensus_curve(sequences.base(1, 1), 3).tolist() == [0, 0, 0, 0]
    assert spectrum.consensus_curve(sequences.base(8, 1), 0) == pytest.approx([7 / 8])


@pytest.mark.parametrize(
    "sequence",
    [
        sequences.random_matching(20, 3),
        sequences.random_matching(21, 3),
        sequences.epidemic(24, 3, 3),
        sequences.equi_dynamic(20, 3),
        sequences.equi_dynamic(20, 3, eta=0.8),
    ],
    ids=lambda s: s.name,
)
def test_expected_curve_is_the_mean_of_realised_ones(sequence):
    expected = spectrum.expected_consensus_curve(sequence, 4)
    found = np.array([spectrum.consensus_curve(sequence, 4, start=4 * r) for r in range(300)])
    error = found.std(axis=0) / 300**0.5
    assert np.abs(found.mean(axis=0) - expected).max() <= 5 * error.max() + 1e-12


def test_expected_contraction_of_local_epidemics():
    sequence = sequences.epidemic(24, 3, 5, "local")
    X = np.random.default_rng(1).standard_normal((24, 50))
    before = spectrum.consensus_distance(X)
    ratios = [spectrum.consensus_distance(sequence.matrix(t) @ X) / before for t in range(800)]
    assert np.mean(ratios) == pytest.approx(sequence.expected_contraction, rel=0.015)


def test_expected_curve_without_a_formula_averages():
    sequence = sequences.equi_dynamic(16, 1, directed=False)
    curve = spectrum.expected_consensus_curve(sequence, 5, repeats=40)
    assert curve[0] == pytest.approx(15 / 16)
    assert (np.diff(curve) < 0).all()


def test_refuses_negative_rounds():
    with pytest.raises(InvalidParameter, match="rounds"):
        spectrum.consensus_curve(sequences.base(4, 1), -1)
    with pytest.raises(InvalidParameter, match="tolerance"):
        spectrum.rounds_to_consensus(sequences.base(4, 1), 0)
