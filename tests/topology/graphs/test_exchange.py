import json
import sys

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import graphs
from topology.errors import (
    Disconnected,
    DuplicateEdge,
    InvalidParameter,
    MalformedGraphFile,
    MislabelledNodes,
    MissingExtra,
    SelfLoop,
    UnknownNetwork,
    UnknownNode,
)


@given(st.integers(2, 25), st.floats(0, 1), st.booleans(), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_networkx_and_back(n, p, directed, seed):
    reference = nx.gnp_random_graph(n, p, seed=seed, directed=directed)
    topology = graphs.from_networkx(reference, require_connected=False)
    back = topology.to_networkx()
    assert topology.directed == directed
    assert sorted(back.edges) == sorted(reference.edges)
    assert sorted(back.nodes) == sorted(reference.nodes)
    connected = nx.is_strongly_connected(reference) if directed else nx.is_connected(reference)
    assert topology.is_connected == connected
    largest = graphs.largest_component(topology)
    parts = nx.strongly_connected_components(reference) if directed else nx.connected_components(reference)
    assert largest.n == max(map(len, parts))
    assert largest.is_connected


def test_attributes_travel_both_ways():
    reference = nx.Graph()
    reference.add_node("Bern", pos=(7.4, 46.9))
    reference.add_node("Graz", pos=(15.4, 47.1))
    reference.add_node("Lyon", pos=(4.8, 45.8))
    reference.add_edge("Lyon", "Bern", km=250)
    reference.add_edge("Graz", "Bern", km=650)
    topology = graphs.from_networkx(reference, weight="km")
    assert topology.labels == ("Bern", "Graz", "Lyon")
    assert topology.positions.tolist() == [[7.4, 46.9], [15.4, 47.1], [4.8, 45.8]]
    assert topology.weights.tolist() == [650, 250, 650, 250]
    back = topology.to_networkx()
    assert back.nodes[2] == {"pos": (4.8, 45.8), "label": "Lyon"}
    assert back.edges[0, 2]["weight"] == 250
    directed = graphs.from_networkx(nx.DiGraph([(0, 1), (1, 0)])).to_networkx()
    assert isinstance(directed, nx.DiGraph)


class TestFromEdges:
    def test_numbers_and_labels(self):
        assert graphs.from_edges([(0, 1), (2, 1)]).neighbours(1).tolist() == [0, 2]
        assert graphs.from_edges(np.array([[0, 1], [1, 2]]), directed=True, require_connected=False).directed
        named = graphs.from_edges([("b", "a")], labels=["a", "b"])
        assert named.labels == ("a", "b")
        assert graphs.from_edges([], n=1).n == 1

    def test_weights_follow_their_edges(self):
        topology = graphs.from_edges([(2, 1), (0, 1)], weights=[5.0, 3.0])
        assert topology.weights.tolist() == [3.0, 3.0, 5.0, 5.0]

    @pytest.mark.parametrize(
        ("edges", "options", "error", "words"),
        [
            ([(0, 1), (1, 1)], {}, SelfLoop, "first at node 1"),
            ([(0, 1), (1, 0)], {}, DuplicateEdge, "between nodes 0 and 1"),
            ([(0, 1), (2, 3)], {}, Disconnected, "largest_component"),
            ([(0, 1)], {"n": 3}, Disconnected, "nodes 2"),
            ([(0, 1), (1, 2)], {"directed": True}, Disconnected, "strongly connected"),
            ([(0, 5)], {"n": 3}, UnknownNode, "Number nodes from 0"),
            ([(0, -1)], {"n": 3}, UnknownNode, "-1"),
            ([(0, 1, 2)], {}, InvalidParameter, "pairs"),
            ([(0.5, 1.5)], {}, InvalidParameter, "pairs"),
            ([(0, 1), (1,)], {}, InvalidParameter, "pairs"),
            ([("a", "b")], {}, InvalidParameter, "labels="),
            ([("a", "c")], {"labels": ["a", "b"]}, UnknownNode, "got c"),
            ([("a", "b")], {"labels": ["a", "b", "a"]}, MislabelledNodes, "'a' more than once"),
            ([("a", "b")], {"labels": ["a", "b"], "n": 3}, MislabelledNodes, "expected 3"),
            ([(0, 1)], {"weights": [1.0, 2.0]}, InvalidParameter, "one weight an edge"),
        ],
    )
    def test_bad_edges_are_named(self, edges, options, error, words):
        with pytest.raises(error, match=words):
            graphs.from_edges(edges, **options)

    def test_duplicates_may_be_merged(self):
        topology = graphs.from_edges([(0, 1), (1, 0), (1, 2)], weights=[1, 2, 3], merge_duplicates=True)
        assert topology.number_of_edges == 2
        assert topology.weights.tolist() == [1, 1, 3, 3]


def test_from_networkx_refusals():
    with pytest.raises(SelfLoop):
        graphs.from_networkx(nx.Graph([(0, 0), (0, 1)]))
    assert graphs.from_networkx(nx.Graph([(0, 0), (0, 1)]), drop_self_loops=True).number_of_edges == 1
    with pytest.raises(DuplicateEdge, match="merge_duplicates"):
        graphs.from_networkx(nx.MultiGraph([(0, 1), (0, 1)]))
    with pytest.raises(InvalidParameter, match="empty"):
        graphs.from_networkx(nx.Graph())
    with pytest.raises(MislabelledNodes, match="'km'"):
        graphs.from_networkx(nx.path_graph(3), weight="km")


class TestFromFile:
    reference = nx.relabel_nodes(nx.petersen_graph(), lambda i: f"node {i}".replace(" ", "-"))

    @pytest.mark.parametrize("suffix", [".graphml", ".gexf", ".json", ".edges", ".csv"])
    def test_every_format(self, suffix, tmp_path):
        file = tmp_path / f"petersen{suffix}"
        if suffix == ".graphml":
            nx.write_graphml(self.reference, file)
        elif suffix == ".gexf":
            nx.write_gexf(self.reference, file)
        elif suffix == ".json":
            file.write_text(json.dumps(nx.node_link_data(self.reference, edges="edges")))
        else:
            nx.write_edgelist(self.reference, file, data=False, delimiter="," if suffix == ".csv" else " ")
        topology = graphs.from_file(file)
        found = {frozenset((topology.labels[i], topology.labels[j])) for i, j in topology.edges()}
        assert found == {frozenset(e) for e in self.reference.edges}

    def test_edge_lists_with_comments_weights_and_numbers(self, tmp_path):
        file = tmp_path / "net.txt"
        file.write_text("# three nodes\n2 0 1.5\n\n0\t1\t2.5  # the other\n")
        topology = graphs.from_file(file, weight="weight")
        assert topology.labels is None
        assert topology.edges().tolist() == [[0, 1], [0, 2]]
        assert topology.weights.tolist() == [2.5, 1.5, 2.5, 1.5]
        assert graphs.from_file(file, directed=True, require_connected=False).neighbours(2).tolist() == [0]

    @pytest.mark.parametrize(
        ("name", "text", "error", "words"),
        [
            ("a.edges", "0 1\nlonely\n", MalformedGraphFile, "line 2"),
            ("a.edges", "0 1 heavy\n", MalformedGraphFile, "line 1"),
            ("a.edges", "# nothing\n", MalformedGraphFile, "no edges"),
            ("a.edges", "0 1\n1 1\n", SelfLoop, "node 1"),
            ("a.edges", "0 1\n1 0\n", DuplicateEdge, "twice"),
            ("a.edges", "0 1\n2 3\n", Disconnected, "2 parts"),
            ("a.graphml", "<graphml", MalformedGraphFile, "graphml"),
            ("a.gexf", "no xml", MalformedGraphFile, "gexf"),
            ("a.json", "{", MalformedGraphFile, "json"),
            ("a.json", "[1, 2]", MalformedGraphFile, "node-link"),
            ("a.json", '{"nodes": [{}], "edges": [{}]}', MalformedGraphFile, "node-link"),
            ("a.dot", "graph {}", InvalidParameter, "file_format"),
        ],
    )
    def test_bad_files_are_named(self, name, text, error, words, tmp_path):
        file = tmp_path / name
        file.write_text(text)
        with pytest.raises(error, match=words):
            graphs.from_file(file)

    def test_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such graph file"):
            graphs.from_file(tmp_path / "none.edges")


class TestInternet:
    def test_a_real_network(self):
        topology = graphs.internet("topozoo/Abilene")
        assert (topology.n, topology.number_of_edges) == (11, 14)
        assert topology.positions.shape == (11, 2)
        assert topology.weights.min() > 0
        assert "New York" in topology.labels

    def test_all_names_can_be_listed(self):
        names = graphs.internet_names("sndlib")
        assert "sndlib/polska" in names
        assert set(names) <= set(graphs.internet_names())

    def test_unknown_name_suggests(self):
        with pytest.raises(UnknownNetwork, match="topozoo/Abilene"):
            graphs.internet("abilene")

    def test_missing_package_is_said(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "topohub", None)
        with pytest.raises(MissingExtra, match=r"gossipfl\[internet\]"):
            graphs.internet("topozoo/Abilene")
