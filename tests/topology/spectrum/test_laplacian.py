"""Eigenvalues of Laplacians against networkx and closed forms, and how many hostile neighbours they allow."""

import importlib
import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from topology import graphs, spectrum
from topology.errors import InvalidParameter
from topology.spectrum import algebraic_connectivity, hostile_neighbours_survivable


def test_the_two_worlds_of_gaucher_and_others():
    """26 honest nodes in two cliques of 13, each linked to 8 of the other: μ₂ = 16, λ_max = 24.907."""
    worlds = graphs.two_worlds(26, links=8)
    assert set(worlds.degrees.tolist()) == {20}
    assert algebraic_connectivity(worlds) == pytest.approx(16, abs=1e-9)
    assert spectrum.largest_laplacian_eigenvalue(worlds) == pytest.approx(24.907, abs=5e-4)
    assert hostile_neighbours_survivable(worlds) == 7


@given(st.integers(1, 15), st.data())
@settings(max_examples=25, deadline=None)
def test_two_worlds_have_twice_the_links_as_their_second_eigenvalue(half, data):
    links = data.draw(st.integers(1, half))
    worlds = graphs.two_worlds(2 * half, links=links)
    cross = sum(1 for i in range(half) for j in worlds.neighbours(i) if j >= half)
    assert cross == half * links
    # The mode that sets the worlds apart has 2·links; those inside a clique have at least its size.
    assert algebraic_connectivity(worlds) <= 2 * links + 1e-9
    expected = nx.laplacian_spectrum(worlds.to_networkx())
    assert algebraic_connectivity(worlds) == pytest.approx(np.sort(expected)[1], abs=1e-8)


@pytest.mark.parametrize(
    ("graph", "connectivity", "survivable"),
    [
        (graphs.complete(11), 11, 5),
        (graphs.complete(12), 12, 5),
        (graphs.complete(3), 3, 1),
        (graphs.ring(20), 2 - 2 * math.cos(2 * math.pi / 20), 0),
        (graphs.star(9), 1, 0),
        (graphs.hypercube(5), 2, 0),
        (graphs.two_worlds(26, links=4), 8, 3),
        (graphs.two_worlds(40, links=15), 30, 14),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_closed_forms(graph, connectivity, survivable):
    assert algebraic_connectivity(graph) == pytest.approx(connectivity, abs=1e-9)
    assert hostile_neighbours_survivable(graph) == survivable


def test_large_graphs_are_solved_without_all_their_eigenvalues():
    graph = graphs.random_regular(1500, 6, seed=1)
    values = np.linalg.eigvalsh(spectrum.laplacian(graph).toarray())
    assert algebraic_connectivity(graph) == pytest.approx(values[1], abs=1e-7)
    assert spectrum.largest_laplacian_eigenvalue(graph) == pytest.approx(values[-1], abs=1e-7)


def test_the_fiedler_vector_tells_the_cliques_of_a_dumbbell_apart():
    graph = graphs.dumbbell(20, beside=0)
    assert graph.number_of_edges == 2 * 45 + 1
    links = (spectrum.laplacian(graph) != 0).astype(float)
    links.setdiag(0)
    links.eliminate_zeros()
    vector = spectrum.fiedler_vector(links)
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert len({tuple(np.sign(vector[part])) for part in (slice(0, 10), slice(10, 20))}) == 2
    assert (np.sign(vector[:10]) == np.sign(vector[0])).all()
    values = spectrum.laplacian(graph) @ vector
    assert values == pytest.approx(algebraic_connectivity(graph) * vector, abs=1e-9)


def test_nodes_beside_two_cliques_are_linked_to_everybody():
    graph = graphs.two_worlds(29, links=8, beside=3)
    assert graph.degrees[:26].tolist() == [23] * 26
    assert graph.degrees[26:].tolist() == [26] * 3
    assert graph.groups.tolist() == [0] * 13 + [1] * 13 + [2] * 3


def test_what_cannot_be_is_refused():
    with pytest.raises(InvalidParameter, match="even number"):
        graphs.dumbbell(7)
    with pytest.raises(InvalidParameter, match="links is more than"):
        graphs.two_worlds(8, links=5)
    with pytest.raises(InvalidParameter, match="undirected"):
        algebraic_connectivity(graphs.exponential(8))
    with pytest.raises(InvalidParameter, match="single node"):
        algebraic_connectivity(graphs.complete(1))


@pytest.mark.parametrize("graph", [graphs.complete(12), graphs.ring(12), graphs.hypercube(4)])
@pytest.mark.parametrize("dense", [0, 10**6], ids=["sparse", "dense"])
def test_of_many_fiedler_vectors_it_is_the_same_whatever_solves(graph, dense, monkeypatch):
    """The projection of one draw on all of them, here by polynomials in L that need no solver."""
    module = importlib.import_module("topology.spectrum.laplacian")
    monkeypatch.setattr(module, "DENSE_NODES", dense)
    L = spectrum.laplacian(graph).toarray()
    expected = module._start(L) - module._start(L).mean()
    values = np.unique(np.linalg.eigvalsh(L).round(9))
    for value in values[2:]:  # takes out one eigenspace each
        expected = (L @ expected - value * expected) / (values[1] - value)
    expected /= np.linalg.norm(expected)
    links = (L < 0).astype(float)
    found = spectrum.fiedler_vector(csr_array(links))
    assert abs(found @ expected) == pytest.approx(1, abs=1e-6)
