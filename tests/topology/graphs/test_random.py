import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from topology import graphs
from topology.errors import Disconnected, ImpossibleDegree, InvalidParameter, MislabelledNodes, TooLarge
from topology.graphs.cliques import clique_skew
from topology.graphs.random import _unrank_pairs


def is_simple(topology):
    matrix = topology.adjacency
    keys = np.repeat(np.arange(topology.n), topology.degrees) * topology.n + topology.indices
    undirected = topology.directed or abs(matrix - matrix.T).nnz == 0
    return undirected and (matrix.diagonal() == 0).all() and (np.diff(keys) > 0).all()


@given(st.integers(1, 40), st.integers(0, 39), st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_random_regular_is_regular_simple_and_connected(n, degree, seed):
    possible = degree < n and n * degree % 2 == 0 and (degree >= 2 or n == degree + 1)
    if not possible:
        with pytest.raises(ImpossibleDegree, match=r"[Tt]ake|Lower"):
            graphs.random_regular(n, degree, seed)
        return
    topology = graphs.random_regular(n, degree, seed)
    assert (topology.degrees == degree).all()
    assert is_simple(topology)
    assert topology.is_connected


def test_random_regular_repeats_by_seed():
    assert (graphs.random_regular(60, 5, 3).indices == graphs.random_regular(60, 5, 3).indices).all()
    assert (graphs.random_regular(60, 5, 3).indices != graphs.random_regular(60, 5, 4).indices).any()


def test_small_cubic_graphs_are_nearly_uniform():
    # On 6 nodes there are 70 labelled cubic graphs, all connected: 60 prisms and 10 complete bipartite.
    bipartite = sum(nx.is_bipartite(graphs.random_regular(6, 3, seed).to_networkx()) for seed in range(600))
    assert bipartite / 600 == pytest.approx(10 / 70, abs=0.06)


def test_cubic_graphs_have_the_triangles_of_uniform_ones():
    # Asymptotically Poisson with mean (d − 1)³/6 = 4/3.
    triangles = [
        sum(nx.triangles(graphs.random_regular(100, 3, seed).to_networkx()).values()) / 3
        for seed in range(150)
    ]
    assert np.mean(triangles) == pytest.approx(4 / 3, abs=5 * (4 / 3 / 150) ** 0.5)


def test_random_regular_at_scale():
    topology = graphs.random_regular(50_000, 20, 1)
    assert (topology.degrees == 20).all()
    assert is_simple(topology)


@given(st.integers(1, 60), st.floats(0, 1), st.booleans(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_erdos_renyi_is_simple(n, p, directed, seed):
    assert is_simple(graphs.erdos_renyi(n, p, seed, directed=directed, require_connected=False))


def test_erdos_renyi_links_every_pair_equally():
    n, p, draws = 7, 0.3, 1500
    for directed in (False, True):
        linked = sum(
            graphs.erdos_renyi(n, p, seed, directed=directed, require_connected=False).adjacency.toarray()
            for seed in range(draws)
        )
        counts = linked[~np.eye(n, dtype=bool)]
        assert np.abs(counts / draws - p).max() < 5 * (p * (1 - p) / draws) ** 0.5
    assert graphs.erdos_renyi(6, 1.0, 0).number_of_edges == 15
    assert graphs.erdos_renyi(6, 0.0, 0, require_connected=False).number_of_edges == 0


@given(st.integers(0, 2**52))
def test_unranking_pairs_is_exact(rank):
    smaller, larger = (int(x[0]) for x in _unrank_pairs(np.array([rank])))
    assert 0 <= smaller < larger
    assert larger * (larger - 1) // 2 + smaller == rank


def test_disconnected_draws_say_how_to_mend_it():
    with pytest.raises(Disconnected, match=r"Raise p above ln\(n\)/n"):
        graphs.erdos_renyi(50, 0.01, 0)
    with pytest.raises(Disconnected, match="Raise radius"):
        graphs.geometric(50, 0.01, 0)
    with pytest.raises(TooLarge):
        graphs.erdos_renyi(10**6, 0.5, 0)
    with pytest.raises(InvalidParameter, match="share of one"):
        graphs.erdos_renyi(10, 30, 0)


@given(st.integers(3, 40), st.integers(1, 10), st.floats(0, 1), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_small_world_keeps_its_edges(n, half, rewire, seed):
    degree = 2 * half
    if degree > n - 1:
        with pytest.raises(ImpossibleDegree):
            graphs.small_world(n, degree, rewire, seed)
        return
    topology = graphs.small_world(n, degree, rewire, seed, require_connected=False)
    assert topology.number_of_edges == n * half
    assert is_simple(topology)
    assert (topology.degrees >= half).all()


def test_small_world_between_lattice_and_random():
    lattice = graphs.small_world(200, 6, 0, 1).to_networkx()
    assert {tuple(sorted(e)) for e in lattice.edges} == {
        tuple(sorted(e)) for e in nx.watts_strogatz_graph(200, 6, 0).edges
    }
    some = graphs.small_world(200, 6, 0.1, 1).to_networkx()
    assert nx.average_shortest_path_length(some) < 0.5 * nx.average_shortest_path_length(lattice)
    assert nx.average_clustering(some) > 0.6 * nx.average_clustering(lattice)


@given(st.integers(1, 8), st.integers(1, 60), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_scale_free_is_simple_and_connected(links, extra, seed):
    n = links + extra
    topology = graphs.scale_free(n, links, seed)
    assert topology.number_of_edges == (n - links) * links
    assert is_simple(topology)
    assert topology.is_connected
    assert (topology.degrees[links + 1 :] >= links).all()


def test_scale_free_degrees_are_those_of_networkx():
    ours = np.mean([np.sort(graphs.scale_free(400, 3, s).degrees)[-20:] for s in range(30)], axis=0)
    theirs = np.mean(
        [np.sort([d for _, d in nx.barabasi_albert_graph(400, 3, seed=s).degree])[-20:] for s in range(30)],
        axis=0,
    )
    assert ours == pytest.approx(theirs, rel=0.15)


def test_second_newcomer_prefers_by_degree():
    # After the star of 0, 1 comes node 2, then 3: node 3 picks among ends of two edges.
    picked = np.zeros(3)
    for seed in range(3000):
        topology = graphs.scale_free(4, 1, seed)
        first = topology.neighbours(2)[0]
        degrees = np.array([1.0, 1.0, 1.0])
        degrees[first] += 1
        target = int(topology.neighbours(3)[0])
        picked[int(degrees[target]) - 1] += 1
    # Of four ends, two belong to the node of degree 2.
    assert chisquare(picked[:2]).pvalue > 1e-4


def test_geometric_links_exactly_the_close():
    topology = graphs.geometric(120, 0.2, 3, require_connected=False)
    distance = np.linalg.norm(topology.positions[:, None] - topology.positions[None], axis=2)
    assert ((distance <= 0.2) & ~np.eye(120, dtype=bool)).astype(
        float
    ).tolist() == topology.adjacency.toarray().tolist()
    for i in range(120):
        ends = slice(topology.indptr[i], topology.indptr[i + 1])
        assert topology.weights[ends] == pytest.approx(distance[i, topology.indices[ends]])
    reference = nx.random_geometric_graph(120, 0.2, pos=dict(enumerate(topology.positions)))
    assert reference.number_of_edges() == topology.number_of_edges


class TestDCliques:
    labels = np.arange(100) % 10

    @pytest.mark.parametrize("between", ["ring", "small world", "fractal", "fully connected"])
    @pytest.mark.parametrize(("n", "size"), [(100, 10), (103, 7), (12, 4), (5, 10), (9, 1)])
    def test_cliques_are_complete_and_together_connected(self, between, n, size):
        topology = graphs.d_cliques(np.arange(n) % 4, clique_size=size, between=between, seed=1)
        assert topology.is_connected
        cliques = [np.flatnonzero(topology.groups == c) for c in range(topology.groups.max() + 1)]
        assert len(cliques) == -(-n // size)
        assert max(map(len, cliques)) <= size
        inside = topology.adjacency.toarray()
        for members in cliques:
            assert inside[np.ix_(members, members)].sum() == len(members) * (len(members) - 1)
        crossing = [e for e in topology.edges() if topology.groups[e[0]] != topology.groups[e[1]]]
        pairs = {tuple(sorted(topology.groups[e].tolist())) for e in crossing}
        assert len(pairs) == len(crossing)
        if between == "fully connected":
            assert len(pairs) == len(cliques) * (len(cliques) - 1) // 2

    def test_greedy_swap_makes_cliques_look_like_everyone(self):
        counts = np.eye(10)[self.labels]

        def skew(swaps):
            topology = graphs.d_cliques(self.labels, swaps=swaps, seed=2)
            return np.mean([clique_skew(counts, np.flatnonzero(topology.groups == c)) for c in range(10)])

        assert skew(0) > 0.5
        assert skew(1000) < 0.1

    def test_histograms_are_labels_too(self):
        counts = np.random.default_rng(0).integers(0, 30, (40, 5)) + 1
        assert graphs.d_cliques(counts, clique_size=5, seed=0).is_connected

    @pytest.mark.parametrize(
        "labels", [["a", "b"], [-1, 2], [0.5, 1.5], [[1, 0], [0, 0]], [[1, -1]], [], [[np.nan, 1.0]]]
    )
    def test_labels_are_checked(self, labels):
        with pytest.raises(MislabelledNodes, match="Encode class names"):
            graphs.d_cliques(labels, seed=0)

    def test_unknown_links_between_cliques(self):
        with pytest.raises(InvalidParameter, match="fractal"):
            graphs.d_cliques(self.labels, between="star", seed=0)
