import sys

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from topology import graphs, mixing, spectrum
from topology.errors import (
    DirectedGraph,
    Disconnected,
    InvalidParameter,
    MissingExtra,
    NotMixingMatrix,
    TooLarge,
)


@st.composite
def simple_graphs(draw, *, directed=False):
    n = draw(st.integers(1, 12))
    pairs = [(i, j) for i in range(n) for j in range(n) if (i != j if directed else i < j)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=40)) if pairs else []
    return graphs.from_edges(chosen, n, directed=directed, require_connected=False)


@given(simple_graphs())
@settings(max_examples=60, deadline=None)
def test_symmetric_weightings_of_any_graph(graph):
    for make in (mixing.metropolis_hastings, mixing.max_degree):
        W = mixing.check_mixing_matrix(make(graph), graph, symmetric=True)
        assert isinstance(W, csr_array)
        assert W.dtype == np.float64
        assert (W.diagonal() > 0).all()
    degrees = graph.degrees
    W = mixing.metropolis_hastings(graph).toarray()
    for i, j in graph.edges():
        assert W[i, j] == 1 / (1 + max(degrees[i], degrees[j]))
    W = mixing.max_degree(graph).toarray()
    assert W[~np.eye(graph.n, dtype=bool) & (W != 0)] == pytest.approx(1 / (1 + graph.max_degree))


@given(simple_graphs(directed=True))
@settings(max_examples=60, deadline=None)
def test_weightings_of_any_digraph(graph):
    W = mixing.check_mixing_matrix(mixing.uniform(graph), graph, stochastic="rows").toarray()
    for i in range(graph.n):
        heard = [i, *graph.in_neighbours(i).tolist()]
        assert sorted(np.flatnonzero(W[i])) == sorted(heard)
        assert W[i, heard] == pytest.approx(1 / len(heard))
    W = mixing.check_mixing_matrix(mixing.column_stochastic(graph), graph, stochastic="columns").toarray()
    for j in range(graph.n):
        sent = [j, *graph.neighbours(j).tolist()]
        assert sorted(np.flatnonzero(W[:, j])) == sorted(sent)
        assert W[sent, j] == pytest.approx(1 / len(sent))


@given(simple_graphs(), st.floats(0, 0.99))
@settings(max_examples=30, deadline=None)
def test_lazy_moves_eigenvalues_up(graph, stay):
    W = mixing.metropolis_hastings(graph)
    lazy = mixing.check_mixing_matrix(mixing.lazy(W, stay), graph, symmetric=True)
    expected = stay + (1 - stay) * np.linalg.eigvalsh(W.toarray())
    assert np.linalg.eigvalsh(lazy.toarray()) == pytest.approx(expected, abs=1e-12)


def test_networkx_laplacian_gives_the_same_maximum_degree_weights():
    graph = graphs.scale_free(40, 2, 1)
    laplacian = nx.laplacian_matrix(graph.to_networkx()).toarray()
    expected = np.eye(40) - laplacian / (1 + graph.max_degree)
    assert mixing.max_degree(graph).toarray() == pytest.approx(expected, abs=1e-14)


def test_push_sum_reaches_the_mean_on_a_digraph():
    graph = graphs.from_edges([(0, 1), (1, 2), (2, 0), (0, 2), (2, 3), (3, 0)], directed=True)
    A = mixing.column_stochastic(graph)
    x, w = np.array([1.0, 5.0, -2.0, 8.0]), np.ones(4)
    for _ in range(200):
        x, w = A @ x, A @ w
    assert x / w == pytest.approx(np.full(4, 3.0))


def test_directed_graphs_are_refused_where_symmetry_is_needed():
    for make in (mixing.metropolis_hastings, mixing.max_degree, mixing.fastest):
        with pytest.raises(DirectedGraph, match="column_stochastic"):
            make(graphs.exponential(8))


def test_lazy_refuses_a_share_of_one():
    with pytest.raises(InvalidParameter, match="stay"):
        mixing.lazy(mixing.uniform(graphs.ring(4)), 1.0)


class TestCheck:
    def test_accepts_dense(self):
        assert mixing.check_mixing_matrix([[0.5, 0.5], [0.5, 0.5]]).shape == (2, 2)

    @pytest.mark.parametrize(
        ("W", "options", "words"),
        [
            ([[0.5, 0.4], [0.5, 0.5]], {}, "row 0 does not sum to 1"),
            ([[0.9, 0.1], [0.5, 0.5]], {}, "column 1 does not sum to 1"),
            ([[1.2, -0.2], [-0.2, 1.2]], {}, r"W\[0, 1\] = -0.2"),
            ([[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]], {"symmetric": True}, "not symmetric"),
            ([[0.5, 0.5, 0]], {}, "not square"),
            ([[np.nan, 1], [1, 0]], {}, "not finite"),
        ],
    )
    def test_names_what_is_broken(self, W, options, words):
        with pytest.raises(NotMixingMatrix, match=words):
            mixing.check_mixing_matrix(W, **options)

    def test_names_a_weight_off_the_graph(self):
        W = np.full((3, 3), 1 / 3)
        with pytest.raises(NotMixingMatrix, match=r"expected W\[0, 2\] = 0"):
            mixing.check_mixing_matrix(W, graphs.path(3))

    def test_direction_counts(self):
        graph = graphs.exponential(8)
        W = mixing.uniform(graph)
        mixing.check_mixing_matrix(W, graph)
        with pytest.raises(NotMixingMatrix, match="transpose"):
            mixing.check_mixing_matrix(W.T, graph)

    def test_kinds(self):
        graph = graphs.star(4)
        mixing.check_mixing_matrix(mixing.uniform(graph), graph, stochastic="rows")
        with pytest.raises(NotMixingMatrix, match="row"):
            mixing.check_mixing_matrix(mixing.column_stochastic(graph), graph)
        mixing.check_mixing_matrix([[1.2, -0.2], [-0.2, 1.2]], nonnegative=False, symmetric=True)

    def test_wrong_size(self):
        with pytest.raises(NotMixingMatrix, match="4 rows"):
            mixing.check_mixing_matrix(np.eye(3), graphs.ring(4))


class TestFastest:
    @pytest.mark.parametrize(
        "graph", [graphs.ring(7), graphs.star(6), graphs.tree(2, 2), graphs.erdos_renyi(12, 0.4, 3)], ids=repr
    )
    def test_is_a_mixing_matrix_no_slower_than_the_local_rules(self, graph):
        W = mixing.check_mixing_matrix(mixing.fastest(graph), graph, symmetric=True, nonnegative=False)
        chain = mixing.check_mixing_matrix(
            mixing.fastest(graph, nonnegative=True), graph, symmetric=True, nonnegative=False
        )
        assert chain.data.min() > -1e-6
        gaps = [
            spectrum.spectral_gap(make(graph)) for make in (mixing.metropolis_hastings, mixing.max_degree)
        ]
        assert spectrum.spectral_gap(W) >= spectrum.spectral_gap(chain) - 1e-6
        assert spectrum.spectral_gap(chain) >= max(gaps) - 1e-6

    def test_known_optima(self):
        # On edge-transitive graphs the best constant edge weight 2/(μ₂ + μₙ) is optimal.
        for graph in (graphs.ring(9), graphs.star(7), graphs.hypercube(3), graphs.complete(5)):
            laplacian = np.sort(np.linalg.eigvalsh(nx.laplacian_matrix(graph.to_networkx()).toarray()))
            optimum = (laplacian[-1] - laplacian[1]) / (laplacian[-1] + laplacian[1])
            assert spectrum.second_eigenvalue_modulus(mixing.fastest(graph)) == pytest.approx(
                optimum, abs=1e-6
            )

    def test_single_node(self):
        assert mixing.fastest(graphs.ring(1)).toarray().tolist() == [[1.0]]

    def test_refusals(self, monkeypatch):
        with pytest.raises(Disconnected):
            mixing.fastest(graphs.from_edges([(0, 1), (2, 3)], require_connected=False))
        with pytest.raises(TooLarge, match="256"):
            mixing.fastest(graphs.ring(257))
        monkeypatch.setitem(sys.modules, "cvxpy", None)
        with pytest.raises(MissingExtra, match=r"gossipfl\[fastest\]"):
            mixing.fastest(graphs.ring(4))
