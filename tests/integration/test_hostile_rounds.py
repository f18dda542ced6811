"""Real peers in rounds, some of them hostile, beside a simulation of the same network under the same attack."""

import json
import shutil
from itertools import product

import pytest
import torch
import trio
from safetensors.torch import load_file, save_file

from examples.hostile_peer import Accomplices, HostilePeer
from gossipfl.algorithms.file_form import settings_of
from gossipfl.attacks import (
    ALIE,
    IPM,
    Dissensus,
    Echo,
    LabelFlip,
    LittlePerStep,
    Mimic,
    RandomRows,
    Replay,
    ScaledNoise,
    SignFlip,
    Spectral,
    Stale,
)
from gossipfl.errors import SettingError, UnexpectedRound
from gossipfl.peer import Peer
from sims.replay import replay
from sims.replay.errors import TornRecords
from sims.scenario import parse_scenario
from tests.gossipfl.network.helpers import in_trio
from tests.gossipfl.peer.rounds.networks_of_rounds import members
from tests.gossipfl.peer.rounds.networks_of_rounds import settings_of as settings_of_member

from .test_rounds import SCENARIO, SEED, assert_replayed, rows_after, run_all

TRIMMED = {"algorithm": "trimmed_mean", "parameters": {"hostile": 1}}
ATTACKS = [SignFlip(scale=2.0), ScaledNoise(), Replay(lag=3), Echo()]
FURTHER = [Stale(), RandomRows(), LittlePerStep()]
#: Some of these search for what harms each receiver's own rule most.
COLLUDING = [ALIE(search=True), Dissensus(factor=1.5)]
FURTHER_COLLUDING = [ALIE(), IPM(factor=0.5), Dissensus(search=True), Spectral(), Mimic()]


def peers_with_hostile(
    directory,
    attack,
    *,
    nodes,
    hostile,
    training=None,
    accomplices=True,
    partition="shards:2",
    everywhere=False,
    begins=0,
    **rounds,
):
    """Members with the data of a simulation's nodes, and hostile ones among them."""
    together = Accomplices(len(hostile))
    shared = {"partition": partition, "peers": nodes, "seed": SEED}
    listen, roster = members(directory, nodes)
    peers = []
    for number in range(nodes):
        settings = settings_of_member(
            number,
            listen,
            roster,
            task="digits",
            options=shared,
            rounds={"seed": SEED, "deadline": 60.0, **rounds},
            training={"learning_rate": 0.1, "batch_size": 16, "seed": SEED, **(training or {})},
            evaluation={"period": 1000.0},
            checkpoint={"period": 1000.0},
        )
        home = directory / f"peer-{number}"
        if number in hostile:
            told = hostile if accomplices else ()
            how = {"accomplices": told, "together": together, "everywhere": everywhere, "begins": begins}
            peers.append(HostilePeer(home, attack, settings=settings, seed=SEED, **how))
        else:
            peers.append(Peer(home, settings=settings))
    return peers


def rows_of(peers):
    return torch.cat([peer._incarnation.learner.state.nodes.rows for peer in peers])


def text_of(table):
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None)


def topology_text(expression):
    """A scenario's topology, whose number of nodes is the population's."""
    name, _, rest = expression.partition(":")
    options = [each.split("=") for each in rest.split(",")[1:]]
    return "\n".join([f"name = {name!r}", *(f"{key} = {value}" for key, value in options)])


def simulated(
    attack,
    *,
    nodes,
    hostile,
    algorithm,
    parameters,
    topology,
    stop_after,
    training=None,
    partition="shards:2",
    begins=0,
):
    """Rows of all nodes."""
    text = SCENARIO.replace("shards:2", partition).format(
        nodes=nodes,
        topology=topology_text(topology),
        algorithm=text_of({"name": algorithm, **parameters}),
        training=text_of(training or {}),
    )
    text += "[attack]\n" + text_of({"name": attack.name, "nodes": list(hostile), **settings_of(attack)})
    text += f"\nfrom_round = {begins}" if begins else ""
    return rows_after(parse_scenario(text), stop_after)


@pytest.mark.parametrize(
    "attack",
    [*ATTACKS, *(pytest.param(each, marks=pytest.mark.slow) for each in FURTHER)],
    ids=lambda attack: attack.name,
)
@in_trio
async def test_lies_in_rounds_are_those_of_a_simulation_and_replayed(tmp_path, attack):
    run = {"nodes": 5, "hostile": (1, 4), "topology": "complete:5", "stop_after": 8, **TRIMMED}
    peers = peers_with_hostile(tmp_path, attack, **run)
    await run_all(peers)
    expected = simulated(attack, **run)
    assert (rows_of(peers) - expected).abs().max() < 1e-5
    homes = [peer.home.directory for peer in peers]
    assert_replayed(homes)
    lies = sorted((homes[1] / "lies").iterdir())
    assert len(lies) == 8
    lie = load_file(lies[3])
    save_file({**lie, "row": lie["row"] + 1e-3}, lies[3])
    assert not replay(homes).equal
    save_file({"row": lie["row"]}, lies[3])
    with pytest.raises(TornRecords, match="not what a hostile peer sent"):
        replay(homes)
    shutil.rmtree(homes[1] / "lies")
    assert replay(homes).equal == (attack.name == "echo")  # whose only lie is to have trained


RULES = [
    TRIMMED,
    {"algorithm": "d_psgd", "parameters": {}},
    {"algorithm": "ubar", "parameters": {}},
]


def accomplices_and_rules():
    """Pairs, but for searches among UBAR's outcomes, which depend on the receivers' own samples."""
    for attack, rule in product([*COLLUDING, *FURTHER_COLLUDING], RULES):
        if rule["algorithm"] == "ubar" and getattr(attack, "search", False):
            continue
        quick = attack in COLLUDING and rule is TRIMMED
        marks = () if quick else pytest.mark.slow
        yield pytest.param(attack, rule, marks=marks, id=f"{attack}-{rule['algorithm']}")


@pytest.mark.parametrize(("attack", "rule"), list(accomplices_and_rules()))
@in_trio
async def test_lies_of_accomplices_to_each_receiver_are_those_of_a_simulation(tmp_path, attack, rule):
    """On a graph where no hostile member hears all, and all of them together do."""
    graph = "random-regular:6,degree=3,seed=1"
    run = {"nodes": 6, "hostile": (1, 4), "topology": graph, "stop_after": 6, **rule}
    peers = peers_with_hostile(tmp_path, attack, **run)
    await run_all(peers)
    expected = simulated(attack, **run)
    largest = max(1.0, float(expected.abs().max()))  # a mean that is searched for grows from round to round
    assert (rows_of(peers) - expected).abs().max() < 1e-5 * largest
    homes = [peer.home.directory for peer in peers]
    assert_replayed(homes)
    lies = [load_file(each) for each in sorted((homes[1] / "lies").iterdir())]
    assert all(len(each["row"]) == len(each["told"]) > 1 for each in lies)
    assert all(4 not in each["told"] for each in lies)
    shutil.rmtree(homes[1] / "lies")
    assert not replay(homes).equal


@in_trio
async def test_false_labels_are_those_of_a_simulation_and_replayed(tmp_path):
    run = {"nodes": 5, "hostile": (1, 4), "topology": "complete:5", "stop_after": 6, **TRIMMED}
    peers = peers_with_hostile(tmp_path, LabelFlip(), **run)
    await run_all(peers)
    assert (rows_of(peers) - simulated(LabelFlip(), **run)).abs().max() < 1e-5
    assert_replayed([peer.home.directory for peer in peers])
    honest = {**run, "hostile": ()}
    assert (rows_of(peers) - simulated(SignFlip(), **honest)).abs().max() > 1e-3


@pytest.mark.parametrize(
    "attack", [pytest.param(Echo(), marks=pytest.mark.slow), Dissensus()], ids=lambda attack: attack.name
)
@in_trio
async def test_who_begins_to_lie_later_was_honest_before(tmp_path, attack):
    run = {"nodes": 4, "hostile": (1,), "topology": "complete:4", "stop_after": 5, "begins": 3, **TRIMMED}
    peers = peers_with_hostile(tmp_path, attack, **run)
    await run_all(peers)
    assert (rows_of(peers) - simulated(attack, **run)).abs().max() < 1e-5
    homes = [peer.home.directory for peer in peers]
    assert_replayed(homes)
    assert len(list((homes[1] / "lies").iterdir())) == 2


@in_trio
async def test_who_lies_about_its_neighbours_is_heard_by_those_alone(tmp_path):
    """Everybody derives the graph from the roster, so rows of others than neighbours are refused by name."""
    run = {"nodes": 5, "hostile": (2,), "topology": "ring:5", "stop_after": 6, **TRIMMED}
    peers = peers_with_hostile(tmp_path, SignFlip(), everywhere=True, **run)
    await run_all(peers)
    assert (rows_of(peers) - simulated(SignFlip(), **run)).abs().max() < 1e-5
    refused = [peer.counters.refused[UnexpectedRound.counter()] for peer in peers]
    assert [count > 0 for count in refused] == [True, False, False, False, True]
    assert_replayed([peer.home.directory for peer in peers])


@in_trio
async def test_an_aimed_attack_cannot_see_masked_rows(tmp_path):
    run = {"algorithm": "d_psgd", "topology": "complete:5", "masked_sums": True, "stop_after": 3}
    peers = peers_with_hostile(tmp_path, ALIE(), nodes=5, hostile=(2,), **run)
    with pytest.RaisesGroup(
        pytest.RaisesExc(SettingError, match="before it sends its own"), flatten_subgroups=True
    ):
        await peers[2].run()


@in_trio
async def test_a_lie_in_masked_sums_is_replayed(tmp_path):
    run = {"algorithm": "d_psgd", "topology": "complete:5", "masked_sums": True, "stop_after": 3}
    peers = peers_with_hostile(tmp_path, SignFlip(), nodes=5, hostile=(2,), **run)
    await run_all(peers)
    assert_replayed([peer.home.directory for peer in peers])
    shutil.rmtree(peers[2].home.directory / "lies")
    assert not replay([peer.home.directory for peer in peers]).equal


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("algorithm", "attack"),
    [
        *product(("trimmed_mean", "clipped_gossip"), (SignFlip(), ScaledNoise())),
        *product(("trimmed_mean",), (ALIE(search=True), IPM(factor=0.5), Dissensus(), LabelFlip())),
        *product(("gts",), (Spectral(), Mimic())),
    ],
    ids=lambda each: each if isinstance(each, str) else each.name,
)
def test_sixteen_peers_four_of_them_hostile_end_where_their_simulation_ends(algorithm, attack, tmp_path):
    hostile = (3, 7, 11, 15)
    rule = {"algorithm": algorithm, "parameters": {"hostile": 4}}
    run = {
        "nodes": 16,
        "hostile": hostile,
        "topology": "complete:16",
        "stop_after": 30,
        "partition": "iid",
        **rule,
    }
    training = {"momentum": 0.9}
    peers = peers_with_hostile(tmp_path, attack, training=training, **run)
    trio.run(run_all, peers)
    expected = simulated(attack, training=training, **run)
    honest = [each for each in range(16) if each not in hostile]
    data = peers[0].task.dataset()
    real, wanted = (
        100 * peers[0].task.evaluate(rows[honest], data.test_inputs, data.test_targets)["accuracy"].mean()
        for rows in (rows_of(peers), expected)
    )
    print(f"\n{rule['algorithm']}, {attack}: real {real:.2f}, simulated {wanted:.2f}")
    assert all(each.identical for each in replay([peer.home.directory for peer in peers]).peers)
    assert abs(real - wanted) <= 2
