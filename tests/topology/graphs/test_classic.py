import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import graphs
from topology.errors import InvalidParameter, TooLarge, UnknownNode


def edge_set(graph):
    return {tuple(e) if graph.is_directed() else tuple(sorted(e)) for e in graph.edges if e[0] != e[1]}


def row_major(graph):
    return nx.relabel_nodes(graph, {node: i for i, node in enumerate(sorted(graph.nodes))})


@given(st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_networkx_has_the_same_edges(n):
    for topology, reference in (
        (graphs.path(n), nx.path_graph(n)),
        (graphs.ring(n), nx.cycle_graph(n)),
        (graphs.complete(n), nx.complete_graph(n)),
        (graphs.star(n), nx.star_graph(n - 1)),
        (graphs.exponential(n), nx.circulant_graph(n, [], create_using=nx.DiGraph)),
    ):
        expected = edge_set(reference)
        if topology.directed:
            hops = [2**m for m in range(20) if 2**m < n]
            expected = {(i, (i + hop) % n) for i in range(n) for hop in hops}
        assert edge_set(topology.to_networkx()) == expected
        assert topology.n == n
        assert topology.is_connected


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_torus_is_networkx_grid(shape):
    reference = row_major(nx.grid_graph(list(reversed(shape)), periodic=True))
    topology = graphs.torus(shape)
    assert edge_set(topology.to_networkx()) == edge_set(reference)
    assert topology.positions.shape == (topology.n, len(shape))


@pytest.mark.parametrize("dimension", range(7))
def test_hypercube(dimension):
    topology = graphs.hypercube(dimension)
    assert topology.n == 2**dimension
    assert topology.is_regular
    assert topology.max_degree == dimension
    for i, j in topology.edges():
        assert int(i ^ j).bit_count() == 1


@pytest.mark.parametrize(("branching", "depth"), [(1, 0), (1, 5), (2, 3), (3, 2), (4, 1)])
def test_tree_is_networkx_balanced_tree(branching, depth):
    topology = graphs.tree(branching, depth)
    assert edge_set(topology.to_networkx()) == edge_set(nx.balanced_tree(branching, depth))
    assert topology.number_of_edges == topology.n - 1


def test_topology_is_immutable_and_answers_for_itself():
    topology = graphs.ring(6)
    with pytest.raises(ValueError, match="read-only"):
        topology.indices[0] = 3
    with pytest.raises(AttributeError):
        topology.name = "other"
    assert topology.neighbours(0).tolist() == [1, 5]
    assert topology.has_edge(0, 5)
    assert not topology.has_edge(0, 3)
    assert topology.degrees.tolist() == [2] * 6
    assert topology.edges().tolist() == [[0, 1], [0, 5], [1, 2], [2, 3], [3, 4], [4, 5]]
    assert (topology.adjacency.toarray() == nx.to_numpy_array(nx.cycle_graph(6))).all()
    assert repr(topology) == "<Topology ring(6): 6 nodes, 6 undirected edges>"
    for wrong in (-1, 6):
        with pytest.raises(UnknownNode, match="0 … 5"):
            topology.neighbours(wrong)


def test_directed_graphs_know_both_directions():
    topology = graphs.exponential(8)
    assert topology.neighbours(0).tolist() == [1, 2, 4]
    assert topology.in_neighbours(0).tolist() == [4, 6, 7]
    assert topology.in_degrees.tolist() == [3] * 8
    assert topology.is_regular
    assert topology.number_of_edges == 24


@pytest.mark.parametrize(
    "make",
    [
        lambda: graphs.ring(0),
        lambda: graphs.path(-1),
        lambda: graphs.complete(2.5),
        lambda: graphs.star(True),
        lambda: graphs.torus(()),
        lambda: graphs.torus((3, 0)),
        lambda: graphs.hypercube(-1),
        lambda: graphs.tree(0, 2),
        lambda: graphs.exponential(0),
    ],
)
def test_sizes_out_of_range_are_named(make):
    with pytest.raises(InvalidParameter, match="expected"):
        make()


@pytest.mark.parametrize("make", [lambda: graphs.complete(10**6), lambda: graphs.hypercube(40)])
def test_what_cannot_be_held_is_refused_before_it_is_allocated(make):
    with pytest.raises(TooLarge, match="directed edges"):
        make()
