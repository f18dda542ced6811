import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import graphs, mixing, spectrum
from topology.errors import NotMixingMatrix
from topology.spectrum import closed_forms, eigen

mh = mixing.metropolis_hastings


@pytest.mark.parametrize("n", [*range(1, 34), 100, 101])
def test_closed_forms_hold_for_every_n(n):
    assert spectrum.spectral_gap(mh(graphs.ring(n))) == pytest.approx(closed_forms.ring_gap(n), abs=1e-12)
    assert spectrum.spectral_gap(mh(graphs.path(n))) == pytest.approx(closed_forms.path_gap(n), abs=1e-12)
    assert spectrum.spectral_gap(mh(graphs.star(n))) == pytest.approx(closed_forms.star_gap(n), abs=1e-12)
    assert spectrum.spectral_gap(mh(graphs.complete(n))) == pytest.approx(
        closed_forms.complete_gap(n), abs=1e-12
    )
    exponential = spectrum.spectral_gap(mixing.uniform(graphs.exponential(n)))
    assert exponential == pytest.approx(closed_forms.exponential_gap(n), abs=1e-10)


@pytest.mark.parametrize("dimension", range(8))
def test_closed_form_of_hypercube(dimension):
    gap = spectrum.spectral_gap(mh(graphs.hypercube(dimension)))
    assert gap == pytest.approx(closed_forms.hypercube_gap(dimension), abs=1e-12)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_closed_form_of_torus(shape):
    gap = spectrum.spectral_gap(mh(graphs.torus(shape)))
    assert gap == pytest.approx(closed_forms.torus_gap(shape), abs=1e-12)


def test_torus_closed_form_is_the_textbook_one():
    for a in (4, 8, 10):
        assert closed_forms.torus_gap((a, a)) == pytest.approx(0.4 * (1 - np.cos(2 * np.pi / a)))


SPARSE_CASES = [
    mh(graphs.random_regular(300, 6, 1)),
    mh(graphs.torus((12, 20))),
    mh(graphs.ring(250)),
    mh(graphs.ring(251)),
    mh(graphs.tree(3, 5)),
    mixing.max_degree(graphs.star(150)),
    mixing.uniform(graphs.exponential(200)),
    mixing.uniform(graphs.exponential(201)),
    mixing.uniform(graphs.tree(2, 6)),
    mixing.column_stochastic(graphs.tree(2, 6)),
]


@pytest.mark.parametrize("W", SPARSE_CASES)
def test_sparse_and_dense_agree(W, monkeypatch):
    dense = spectrum.second_eigenvalue_modulus(W)
    dense_factor = None
    if np.abs(np.asarray(W.sum(axis=1)) - 1).max() < 1e-12:
        dense_factor = spectrum.contraction_factor(W)
    assert dense == pytest.approx(np.sort(np.abs(np.linalg.eigvals(W.toarray())))[-2], abs=1e-9)
    monkeypatch.setattr(eigen, "DENSE_NODES", 10)
    assert spectrum.second_eigenvalue_modulus(W) == pytest.approx(dense, abs=1e-8)
    monkeypatch.setattr(eigen, "_LARGEST_FILL", 0)
    assert spectrum.second_eigenvalue_modulus(W) == pytest.approx(dense, abs=1e-8)
    if dense_factor is not None:
        assert spectrum.contraction_factor(W) == pytest.approx(dense_factor, abs=1e-8)


@pytest.mark.parametrize("n", [5000, 100_000])
def test_tiny_gaps_keep_their_relative_precision(n):
    assert spectrum.spectral_gap(mh(graphs.ring(n))) == pytest.approx(closed_forms.ring_gap(n), rel=1e-5)


def test_a_graph_in_two_parts_has_no_gap():
    W = mh(graphs.from_edges([(0, 1), (2, 3)], require_connected=False))
    assert spectrum.spectral_gap(W) == pytest.approx(0, abs=1e-12)


def test_contraction_factor_bounds_the_modulus():
    W = mixing.uniform(graphs.tree(2, 4))
    assert spectrum.contraction_factor(W) > spectrum.second_eigenvalue_modulus(W) + 1e-3
    normal = mixing.uniform(graphs.exponential(33))
    assert spectrum.contraction_factor(normal) == pytest.approx(spectrum.second_eigenvalue_modulus(normal))


def test_refuses_what_is_no_mixing_matrix():
    with pytest.raises(NotMixingMatrix, match="sum to 1"):
        spectrum.spectral_gap(np.eye(3) * 2)
