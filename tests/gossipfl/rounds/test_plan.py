"""Agreement of peers on rounds: rosters, algorithms and topologies, with every mistake named."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gossipfl.algorithms import algorithm_names, make_algorithm
from gossipfl.algorithms.file_form import settings_of
from gossipfl.codecs import FLOAT32
from gossipfl.errors import CorruptCheckpoint, GossipflError, OldSpelling, SettingError
from gossipfl.network import Identity
from gossipfl.outgoing import Pipeline
from gossipfl.peer.rounds.driver import in_rounds
from gossipfl.peer.store.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from gossipfl.rounds import plan_of, started
from gossipfl.rounds.roster import read_roster
from gossipfl.settings import PeerSettings, RoundsSettings, parse_settings
from gossipfl.tasks import find_task
from gossipfl.training import NodeData, Nodes, Trainer

IDS = [Identity.generate().peer_id for _ in range(6)]
TASK = find_task("tests.integration.tasks:blobs", {})


def settings(*, number: int = 0, **rounds) -> PeerSettings:
    tables = {"algorithm": "d_psgd", "topology": f"ring:{len(IDS)}", "roster": IDS, **rounds}
    return parse_settings({"rounds": tables, "runtime": {"number": number}}, source="a test")


def trainer(given: PeerSettings) -> Trainer:
    data = TASK.data()
    own = NodeData.of_one_node(data.train_inputs, data.train_targets)
    return Trainer.of(TASK, own, given.training)


def plan(*, me: int = 0, **rounds):
    given = settings(**rounds)
    return plan_of(given, peer_id=IDS[me], trainer=trainer(given), outgoing=Pipeline(codec=FLOAT32))


def test_residues_need_the_same_step_sizes_everywhere():
    """Or a cell would be of another width at each member, and whoever decodes would be far off unawares."""

    def agreement(training, **parameters):
        given = settings(algorithm="noloco", parameters=parameters)
        given = given.model_copy(update={"training": given.training.model_copy(update=training)})
        return plan_of(
            given, peer_id=IDS[0], trainer=trainer(given), outgoing=Pipeline(codec=FLOAT32)
        ).agreement

    changes = (
        {"learning_rate": 0.2},
        {"local_steps": 7},
        {"schedule": "wsd"},
        {"warm_up": 3},
        {"decay_age": 9},
        {"decay_share": 0.5},
        {"final_fraction": 0.5},
    )
    assert len({agreement(each, bits=2) for each in ({}, *changes)}) == len(changes) + 1
    assert agreement({"batch_size": 3}, bits=2) == agreement({}, bits=2)
    assert len({agreement(each) for each in ({}, *changes)}) == 1


# Rosters


def test_a_roster_is_read_from_a_file_with_addresses_and_comments(tmp_path):
    lines = [f"/ip4/10.0.0.1/tcp/4001/p2p/{IDS[0]}  # alice", "", f"{IDS[1]}", "# carol is new", IDS[2]]
    (tmp_path / "roster.txt").write_text("\n".join(lines))
    roster = read_roster(RoundsSettings(roster_file="roster.txt"), directory=tmp_path)
    assert roster.members == tuple(IDS[:3])
    assert roster.addresses[IDS[0]] == (f"/ip4/10.0.0.1/tcp/4001/p2p/{IDS[0]}",)
    assert roster.addresses[IDS[1]] == ()
    assert roster.number_of(IDS[2]) == 2


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        ({"roster": []}, "rounds need one roster.*neither"),
        ({"roster_file": "roster.txt"}, "rounds need one roster.*both"),
        ({"roster": IDS[:1]}, "not a network"),
        ({"roster": [*IDS, IDS[0]]}, "names a member twice.*numbers 0 and 6"),
        ({"roster": [*IDS, "alice"]}, "member 6 of rounds.roster is not a peer.*'alice'"),
        ({"roster": [*IDS, "/ip4/10.0.0.1/tcp/4001"]}, "member 6 of rounds.roster is not a peer"),
        ({"roster": IDS[1:]}, "is not in the roster of 5 members"),
        ({"number": 3}, "runtime.number is not the peer's place"),
    ],
    ids=lambda value: re.sub(r"12D3KooW\w+", "…", str(value)),
)
def test_a_wrong_roster_is_named(tmp_path, rounds, words):
    with pytest.raises(SettingError, match=words):
        in_rounds(settings(**rounds), directory=tmp_path, peer_id=IDS[0])


def test_a_roster_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingError, match=r"nowhere\.txt cannot be read.*gossipfl peer roster HOMES… > "):
        read_roster(RoundsSettings(roster_file="nowhere.txt"), directory=tmp_path)


def test_recorded_settings_hold_the_roster_and_the_number_it_gives(tmp_path):
    (tmp_path / "roster.txt").write_text("\n".join(IDS))
    given = settings(roster=[], roster_file="roster.txt")
    effective = in_rounds(given, directory=tmp_path, peer_id=IDS[4])
    assert effective.runtime.number == 4
    assert effective.rounds.roster == IDS
    again = in_rounds(effective, directory=tmp_path / "elsewhere", peer_id=IDS[4])
    assert again == effective


# Algorithms


def test_every_round_based_algorithm_is_found_by_its_name():
    names = algorithm_names("rounds")
    assert {"d_psgd", "dfedavg", "relay_sgd", "sgp", "d_cliques"} <= set(names)
    assert "gossip_learning" not in names
    with pytest.warns(OldSpelling, match="'stochastic_gradient_push' is called 'sgp'"):
        assert make_algorithm("sgp", {}) == make_algorithm("stochastic_gradient_push", {})


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("d_pgsd", {}, "no algorithm 'd_pgsd'.*Did you mean 'd_psgd'"),
        (
            "gossip_learning",
            {},
            "gossip_learning is driven by messages; expected one that runs in rounds: .*balance, choco",
        ),
        ("d_psgd", {"ordr": "both-at-once"}, "takes no 'ordr'.*Did you mean 'order'"),
        ("d_psgd", {"order": "sideways"}, "order of d_psgd: expected '.*sideways"),
        ("choco", {"codec": 3}, "codec of choco: expected a valid string"),
        ("choco", {"codec": "zip"}, "no codec has this name"),
        ("epidemic_learning", {}, "epidemic_learning needs 'degree'"),
    ],
)
def test_a_wrong_algorithm_or_parameter_is_named(name, parameters, words):
    with pytest.raises(GossipflError, match=words):
        make_algorithm(name, parameters, kind="rounds")


def test_all_parameters_count_and_equal_ones_are_written_alike():
    assert settings_of(make_algorithm("d_psgd", {})) == {"order": "adapt-then-combine"}
    choco = settings_of(make_algorithm("choco", {"codec": "top:0.1"}))
    assert choco["codec"] == "top:0.1"


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        ({"topology": None}, "rounds.topology is missing.*ring:6"),
        ({"topology": "rign:6"}, "there is no topology 'rign'.*Did you mean 'ring'"),
        ({"topology": "random-regular"}, "degree is missing"),
        ({"topology": "ring:5"}, "another number of nodes than the roster has members.*expected 6; got 5"),
        ({"topology": "epidemic:6,s=2,mode=local,seed=1"}, "needs doubly stochastic mixing"),
        ({"algorithm": "fedavg"}, "rounds.algorithm: fedavg runs in the simulator only: it needs a server"),
        ({"algorithm": "relay_sgd"}, "relays along a tree"),
        ({"algorithm": "d_cliques"}, "averages within cliques"),
        (
            {"algorithm": "exact_diffusion", "topology": "one-peer-exponential:6"},
            "same matrix in every round",
        ),
        ({"algorithm": "power_gossip"}, "in the simulator only"),
    ],
    ids=lambda value: re.sub(r"12D3KooW\w+", "…", str(value)),
)
def test_what_an_algorithm_is_not_defined_for_is_refused_by_name(rounds, words):
    with pytest.raises(SettingError, match=words):
        plan(**rounds)


def test_a_missing_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "topology.catalogue", None)
    with pytest.raises(SettingError, match=r"not installed.*pip install 'gossipfl\[topology\]'"):
        plan()


def test_the_number_of_nodes_is_that_of_the_roster_and_a_topology_may_be_ones_own(tmp_path, monkeypatch):
    assert plan(topology="ring").agreement == plan().agreement
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan_topologies.py").write_text(
        "import networkx as nx\ndef wheel(n):\n    return nx.wheel_graph(n)"
    )
    own = plan(topology="plan_topologies:wheel")
    assert own.mixing.sequence.neighbours(0, 0).tolist() == [1, 2, 3, 4, 5]
    assert own.agreement not in {plan().agreement, plan(topology="star").agreement}
    with pytest.raises(SettingError, match=r"no function 'weel'.*Did you mean plan_topologies:wheel"):
        plan(topology="plan_topologies:weel")


# Agreement

SAME = {"deadline": 3.0, "period": 1.0, "patience": 9, "ahead": 8, "gathering": 1.0, "stop_after": 5}
OTHER = [
    {"roster": [*IDS[1:], IDS[0]]},
    {"topology": "complete:6"},
    {"topology": "random-regular:6,degree=3,seed=1"},
    {"seed": 1},
    {"algorithm": "dfedavg"},
    {"parameters": {"order": "both-at-once"}},
    {"algorithm": "tests.gossipfl.algorithms.robust_rules:TrimmedMean"},
]


def test_members_have_one_digest_whatever_is_their_own_affair():
    agreements = {plan(me=number, **SAME).agreement for number in range(6)} | {plan().agreement}
    assert len(agreements) == 1


@pytest.mark.parametrize("other", OTHER, ids=lambda value: re.sub(r"12D3KooW\w+", "…", str(value)))
def test_whoever_would_mix_otherwise_has_another_digest(other):
    assert plan(**other).agreement != plan().agreement


def test_graphs_that_differ_have_other_digests_even_under_one_name(monkeypatch):
    from topology import graphs
    from topology.catalogue import registry

    before, ring = plan().agreement, registry.find_family("ring")
    other = replace(ring, maker=lambda n: replace(graphs.complete(n), name=graphs.ring(n).name))
    monkeypatch.setitem(registry._BY_NAME, "ring", other)
    assert plan().agreement != before


# What is sent


def test_what_is_sent_is_known_before_the_first_round():
    shared = TASK.layout.shared_size
    assert [form.described() for form in plan().forms] == [[shared, None, "neighbours"]]
    assert [form.size for form in plan(algorithm="sgp").forms] == [shared + 1]
    sizes = [form.size for form in plan(algorithm="gradient_tracking").forms]
    assert sum(sizes) == 2 * shared
    relayed = plan(algorithm="relay_sgd", topology="path:6", me=2)
    assert [form.over for form in relayed.forms] == ["links"]
    assert relayed.links(0).neighbours.tolist() == [1, 3]


def test_a_checkpoint_without_a_frozen_body_goes_on_with_it(tmp_path):
    """What rounds keep is of shared numbers, and so as wide as rows were: it is no row, and gets no body."""

    def model():
        return nn.Sequential(nn.Linear(2, 3).requires_grad_(requires_grad=False), nn.Linear(3, 2))

    whole = replace(TASK, model=model)
    lean = whole.leaving_out({"0.weight", "0.bias"})
    assert lean.layout.size == lean.layout.shared_size == 8
    begun = started(Nodes.start(lean.initial_row()[None]), 0, plan(algorithm="streaming"), lean)
    kept = {name: torch.rand_like(each) for name, each in begun.auxiliary.items()}
    saved = Checkpoint(
        nodes=replace(begun, auxiliary=kept),
        event=3,
        merges_pending=0,
        incarnation=1,
        random_state=dict(np.random.PCG64(0).state),
        view=[],
    )
    save_checkpoint(tmp_path / "c", saved, lean)
    read = load_checkpoint(tmp_path / "c", whole, optimiser_state_size=0).nodes
    again = started(read, 3, plan(algorithm="streaming"), whole)
    assert torch.equal(again.rows[0], whole.initial_row())
    assert again.auxiliary.keys() == kept.keys()
    assert all(torch.equal(again.auxiliary[name], kept[name]) for name in kept)


def test_a_checkpoint_of_another_algorithm_is_refused():
    nodes = Nodes.start(torch.zeros(1, TASK.layout.size))
    first = started(nodes, 0, plan(algorithm="sgp"), TASK)
    assert first.auxiliary["push_sum_weights"].tolist() == [[1.0]]
    with pytest.raises(CorruptCheckpoint, match=r"not one of sgp.*push_sum_weights"):
        started(nodes, 3, plan(algorithm="sgp"), TASK)
    assert started(first, 3, plan(algorithm="sgp"), TASK) is first
