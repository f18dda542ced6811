"""Topologies of scenarios: tables and expressions, the user's own, and all that cannot be made."""

import networkx as nx
import numpy as np
import pytest

from sims.errors import InvalidScenario, NotSimulable
from sims.scenario import load_scenario, parse_scenario, to_toml
from sims.sweeping import load_sweep
from sims.world.networks import neighbour_lists, round_network
from tests.sims.worlds import SMALL, small
from topology import graphs
from topology.catalogue import families


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["topology.name=rung"], "Did you mean 'ring'"),
        (["topology.name=random_regular"], "degree is missing"),
        (["topology.name=random_regular", "topology.degre=3"], "Did you mean 'degree'"),
        (["topology.name=random_regular", "topology.degree=24"], "cannot be made: .*at most n - 1"),
        (["topology.name=hypercube", "topology.dimension=4"], "another number of nodes .*24.*16"),
    ],
)
def test_impossible_topologies_are_refused(overrides, complaint):
    with pytest.raises(InvalidScenario, match=complaint):
        neighbour_lists(small(*overrides))


def test_sequences_are_refused_to_peers_without_rounds():
    with pytest.raises(NotSimulable, match="message-driven"):
        neighbour_lists(small("topology.name=one_peer_exponential"))


@pytest.mark.parametrize(
    "overrides",
    [
        ["topology=random-regular:degree=4"],
        ["topology=Random_Regular:24,4"],
        ["topology.name=random-regular", "topology.degree=4"],
        ["topology.name=random_regular:degree=4"],
        ["topology.degree=4", "topology=random-regular"],
        ["topology={name='random_regular',n=24,degree=4,seed=3}"],
    ],
    ids=str,
)
def test_a_topology_is_a_table_or_an_expression(overrides):
    indptr, indices = neighbour_lists(small(*overrides))
    expected = graphs.random_regular(24, 4, 3)  # with the scenario's nodes and seed
    assert indptr.tolist() == expected.indptr.tolist()
    assert indices.tolist() == expected.indices.tolist()


def test_an_expression_in_a_file_is_overridden_like_a_table():
    text = SMALL.replace('[topology]\nname = "ring"\n', "").replace(
        "[population]", 'topology = "random-regular:degree=4"\n[population]'
    )
    scenario = parse_scenario(text, overrides=["topology.degree=6"])
    assert (scenario.topology.name, scenario.topology.arguments) == ("random-regular", {"degree": 6})
    assert parse_scenario(to_toml(scenario)) == scenario
    with pytest.raises(InvalidScenario, match=r"t:\d+:\d+: topology: .* 'rnig'.*Did you mean 'ring'"):
        parse_scenario(text.replace("random-regular:degree=4", "rnig:24"), source="t")


def test_d_cliques_are_of_the_classes_of_the_data_or_of_those_given():
    counts = np.eye(3, dtype=np.int64)[np.arange(6) // 2]
    scenario = small("population.nodes=6", "topology=d-cliques:clique_size=3")
    of_data = neighbour_lists(scenario, class_counts=lambda: counts)
    assert of_data[1].tolist() == graphs.d_cliques(counts, clique_size=3, seed=3).indices.tolist()
    given = small("population.nodes=6", "topology=d-cliques:classes=3,clique_size=3")
    same = neighbour_lists(given, class_counts=lambda: pytest.fail("not wanted"))
    assert same[1].tolist() == graphs.d_cliques(np.arange(6) % 3, clique_size=3, seed=3).indices.tolist()


def test_links_weigh_as_the_topology_says_before_the_algorithm():
    rounds = "algorithm={name='d_psgd',weights='max_degree'}"
    W = round_network(small(rounds, "topology=star:weights=lazy")).sequence.matrix(0)
    assert W[1, 1] == pytest.approx(1 - 1 / 48)
    assert round_network(small(rounds, "topology=star")).sequence.matrix(0)[1, 1] == pytest.approx(1 - 1 / 24)
    with pytest.raises(InvalidScenario, match="links have no weights"):
        neighbour_lists(small("topology=star:weights=lazy"))


def test_a_topology_of_ones_own_stands_beside_the_scenario_or_the_sweep(tmp_path):
    (tmp_path / "own_graphs.py").write_text(
        "import networkx as nx\ndef caveman(n, size=4):\n    return nx.connected_caveman_graph(n // size, size)\n"
    )
    text = SMALL.replace('name = "ring"', 'name = "own_graphs:caveman"\nsize = 6')
    (tmp_path / "own.toml").write_text(text)
    scenario = load_scenario(tmp_path / "own.toml")
    assert scenario.modules == tmp_path
    assert len(neighbour_lists(scenario)[1]) == 2 * nx.connected_caveman_graph(4, 6).number_of_edges()
    again = parse_scenario(to_toml(scenario))  # as a run's directory keeps it
    assert neighbour_lists(again)[1].tolist() == neighbour_lists(scenario)[1].tolist()
    with pytest.raises(InvalidScenario, match=r"caveman.* cannot be made: .* failed"):
        neighbour_lists(load_scenario(tmp_path / "own.toml", overrides=["topology.size='six'"]))
    (tmp_path / "sweep.toml").write_text(
        'scenario = "digits"\n[grid]\ntopology = ["matcha:(own_graphs:caveman)"]\n'
    )
    assert load_sweep(tmp_path / "sweep.toml").scenario["modules"] == str(tmp_path)


def test_a_graph_in_a_file_stands_beside_the_scenario(tmp_path):
    (tmp_path / "links.edges").write_text("\n".join(f"{i} {(i + 1) % 24}" for i in range(24)))
    text = SMALL.replace('[topology]\nname = "ring"\n', "").replace(
        "[population]", 'topology = "file:links.edges"\n[population]'
    )
    (tmp_path / "own.toml").write_text(text)
    assert (
        neighbour_lists(load_scenario(tmp_path / "own.toml"))[1].tolist() == graphs.ring(24).indices.tolist()
    )


def test_every_name_the_registry_lists_is_one_a_scenario_knows():
    for family in families():
        try:
            assert small(f"topology.name={family.name}").topology.name == family.name
        except InvalidScenario as error:
            assert f"topology {family.name!r} cannot be made: " in str(error)
            assert " is missing. " in str(error)
    for helper in ("largest_component", "from_edges", "shuffled", "static", "clique_skew"):
        with pytest.raises(InvalidScenario, match="there is no topology"):
            small(f"topology.name={helper}")


def test_graphs_and_sequences_become_mixing_matrices():
    rounds = ("algorithm={name='d_psgd'}",)
    ring = round_network(small(*rounds)).sequence
    assert ring.matrix(0).toarray()[0, [23, 0, 1]].tolist() == pytest.approx([1 / 3] * 3)
    base = round_network(small("topology={name='base',k=2}", *rounds)).sequence
    assert (base.n, base.degree) == (24, 2)
