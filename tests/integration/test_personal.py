"""Personal models of real peers: where the simulator ends, replayed, kept over restarts, and never sent."""

import json
from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest
import torch
import trio
from safetensors.torch import load_file

import gossipfl.peer.rounds.framing as framing_module
from gossipfl.peer import Home, Peer, saved_model
from gossipfl.training import NodeData, batch_positions
from gossipfl.training.nodes import PERSONAL
from sims.engine import RoundEngine
from sims.replay import replay
from sims.scenario import parse_scenario
from sims.world import build_world
from sims.world.networks import round_network
from sims.world.trace_cache import Traces
from tests.gossipfl.cli.test_main import cli
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import members, peers_in_rounds, settings_of
from tests.integration.peers import network_of, records_of
from tests.integration.test_rounds import SEED, assert_replayed, run_all

__all__ = ["cli"]

PEERS, ROUNDS = 4, 8
TRACES = Traces()  # traced once for all tests
OPTIONS = {"partition": "iid", "clusters": "rotation:2", "peers": PEERS, "seed": SEED}
TRAINING = {"learning_rate": 0.1, "batch_size": 16, "seed": SEED, "local_steps": 2}
SELDOM = {"evaluation": {"period": 1000.0}, "checkpoint": {"period": 1000.0}}
SCENARIO = """
seed = 5
population.nodes = 4
task = {{ name = "digits", clusters = "rotation:2", options = {{ seed = 5 }} }}
topology.name = "ring"
algorithm = {algorithm}
training = {{ learning_rate = 0.1, batch_size = 16, seed = 5, local_steps = 2 }}
"""
EACH = {
    "apfl": {"share": 0.4, "adapts": True},
    "pens": {"search": 4, "top": 1},
    "similarity_weights": {"by": "cosine", "sharpness": 3.0},
    "ifca": {"models": 2, "drawn": 3},
}
TUNED = {"personal": {"fine_tune": 6, "head": "2.*"}}
every_algorithm = pytest.mark.parametrize("name", EACH)


def tables(name, **rounds):
    return {
        "task": "digits",
        "options": OPTIONS,
        "training": TRAINING,
        "rounds": {
            "seed": SEED,
            "algorithm": name,
            "parameters": EACH.get(name, {}),
            "topology": f"ring:{PEERS}",
            "stop_after": ROUNDS,
            **rounds,
        },
        **SELDOM,
    }


@cache
def simulated(name):
    """Nodes after all rounds of a simulation."""
    parameters = "".join(f", {key} = {json.dumps(value)}" for key, value in EACH.get(name, {}).items())
    scenario = parse_scenario(SCENARIO.format(algorithm=f'{{ name = "{name}"{parameters} }}'))
    return engine_after_all_rounds(scenario).nodes


def engine_after_all_rounds(scenario):
    engine = RoundEngine(build_world(scenario, traces=TRACES), round_network(scenario), compile_when="never")
    for _ in range(ROUNDS):
        engine.run_round()
    engine.close()
    return engine


def nodes_of(peers):
    return [peer._incarnation.learner.state.nodes for peer in peers]


def assert_as_simulated(peers, name):
    expected = simulated(name)
    assert (torch.cat([each.models for each in nodes_of(peers)]) - expected.models).abs().max() < 1e-5
    assert (torch.cat([each.rows for each in nodes_of(peers)]) - expected.rows).abs().max() < 1e-5


@every_algorithm
@in_trio
async def test_peers_end_where_the_simulation_ends_and_are_replayed(tmp_path, name):
    peers = peers_in_rounds(tmp_path, PEERS, **tables(name))
    await run_all(peers)
    assert_as_simulated(peers, name)
    assert_replayed([peer.home.directory for peer in peers])


@in_trio
async def test_pens_finds_its_cluster_over_sockets_as_in_the_simulation(tmp_path):
    """Members 0 and 2, 1 and 3 see digits alike. After the search models go to those alone who chose the node."""
    chosen = {"search": 5, "top": 1}
    peers = peers_in_rounds(
        tmp_path, PEERS, **tables("pens", topology=f"complete:{PEERS}", parameters=chosen)
    )
    await run_all(peers)
    algorithm = '{ name = "pens", search = 5, top = 1 }'
    scenario = parse_scenario(SCENARIO.format(algorithm=algorithm).replace('"ring"', '"complete"'))
    engine = engine_after_all_rounds(scenario)
    surplus = torch.cat([nodes.auxiliary["surplus"] for nodes in nodes_of(peers)])
    assert torch.allclose(surplus, engine.nodes.auxiliary["surplus"], atol=1e-5)
    assert surplus.argmax(dim=1).tolist() == [2, 3, 0, 1]
    row, links = 4 * peers[0].task.layout.shared_size, PEERS * (PEERS - 1)
    found = int((surplus > 1e-3).sum())
    assert found < links
    counted, wishes = engine.exchanges.bytes, 4 * links * ROUNDS
    assert counted == row * (5 * links + (ROUNDS - 5) * found) + wishes
    sent = sum(peer._incarnation.counters.bytes_sent for peer in peers)
    print(
        f"{found} of {links} wanted, {sent:,} bytes sent, {counted:,} counted, {row * links * ROUNDS:,} to all"
    )
    assert counted < sent < counted + 0.3 * row * (ROUNDS - 5) * (links - found)  # headers and answers
    assert_replayed([peer.home.directory for peer in peers])
    for peer, chosen in zip(peers, (surplus > 1e-3).tolist(), strict=True):
        for mix in records_of(peer.home, "mix"):
            wanted = [k for k in range(PEERS) if chosen[k] or (mix["round"] < 5 and k != peers.index(peer))]
            assert mix["members"] == wanted
            assert not mix["missing"]


@pytest.mark.parametrize("name", ["apfl", "pens"])
@in_trio
async def test_restarted_peers_go_on_with_their_personal_models(tmp_path, name):
    """And with what they know of others."""
    listen, roster = members(tmp_path, PEERS)
    for upto in (ROUNDS // 2 + 1, ROUNDS):
        settings = [
            settings_of(number, listen, roster, **tables(name, stop_after=upto)) for number in range(PEERS)
        ]
        peers = [Peer(tmp_path / f"peer-{number}", settings=each) for number, each in enumerate(settings)]
        await run_all(peers)
    assert_as_simulated(peers, name)
    assert_replayed([peer.home.directory for peer in peers])


@contextmanager
def payloads_noted():
    """Every payload that peers of this program put into frames, by sender and position."""
    noted, original = {}, framing_module.encode_round

    def noting(payload, **header):
        data = tuple(bytes(memoryview(each.data).cast("B")) for each in payload)
        noted.setdefault(header["position"], set()).add(data)
        return original(payload, **header)

    framing_module.encode_round = noting
    try:
        yield noted
    finally:
        framing_module.encode_round = original


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What peers without personal models send, and the models they end with."""
    directory = tmp_path_factory.mktemp("plain")
    with payloads_noted() as sent:
        peers = peers_in_rounds(directory, PEERS, **tables("d_psgd"))
        trio.run(run_all, peers)
    return sent, torch.stack([used(peer.model()) for peer in peers])


@pytest.mark.parametrize(("name", "personal"), [("apfl", {}), ("d_psgd", TUNED)], ids=["apfl", "fine-tuned"])
@in_trio
async def test_what_peers_send_is_to_the_last_bit_what_they_would_send_without_personal_models(
    tmp_path, plain, name, personal
):
    sent_by_them, their_models = plain
    with payloads_noted() as sent:
        peers = peers_in_rounds(tmp_path, PEERS, **tables(name), **personal)
        await run_all(peers)
    assert sent == sent_by_them
    assert {len(each) for each in sent.values()} == {PEERS}
    changed = (torch.stack([used(peer.model()) for peer in peers]) - their_models).abs()
    assert changed.max() > 0.01  # and yet they use others
    if personal:
        assert changed.any(dim=0).nonzero().min() == peers[0].task.layout.size - 650  # the head alone
        assert_tuned_peers_use_their_heads(peers)


def assert_tuned_peers_use_their_heads(peers):
    """In the status, the records and the home of a peer whose head is fine-tuned."""
    for number, peer in enumerate(peers):
        task, data = peer.task, peer.task.dataset()
        shared, own = used(peer.model(shared=True)), used(peer.model())
        assert own.equal(by_hand(peer, steps=TUNED["personal"]["fine_tune"]))
        assert shared.equal(nodes_of(peers)[number].rows[0])
        saved = [used(saved_model.saved_model(peer.home, task, shared=each)[0]) for each in (True, False)]
        assert saved[0].equal(shared)
        assert saved[1].equal(own)
        *_, last = records_of(peer.home, "evaluation")
        status = json.loads(peer.home.status.read_text())
        for row, told, shown in (
            (own, last, status["metrics"]),
            (shared, last["before_fine_tuning"], status["shared_metrics"]),
        ):
            found = task.evaluate(row[None], data.test_inputs, data.test_targets)
            assert told["loss"] == shown["loss"] == pytest.approx(float(found["loss"][0]), rel=1e-5)


def by_hand(peer, *, steps):
    """The model fine-tuned by torch alone: SGD on the head, on the peer's first batches."""
    module, data = peer.model(shared=True), peer.task.dataset()
    own = NodeData.of_one_node(data.train_inputs, data.train_targets)
    optimiser = torch.optim.SGD(module[2].parameters(), lr=TRAINING["learning_rate"])
    for step in range(steps):
        one = {"nodes": own.numbers, "steps": np.array([step]), "counts": own.counts}
        places = batch_positions(seed=SEED, size=16, **one)
        inputs, targets = own.at(places[0])
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(inputs), targets).backward()
        optimiser.step()
    return used(module)


def used(module):
    """A module's state as a row."""
    return torch.cat([each.detach().reshape(-1) for each in module.state_dict().values()])


@in_trio
async def test_a_head_that_stays_local_is_never_sent(tmp_path):
    """Nor any four of its numbers in a row."""
    given = {**tables("d_psgd"), "options": {**OPTIONS, "local": "2.*"}}
    with payloads_noted() as noted:
        peers = peers_in_rounds(tmp_path, PEERS, **given)
        await run_all(peers)
    layout = peers[0].task.layout
    sent = {data for payloads in noted.values() for data in payloads}
    assert len(sent) == PEERS * ROUNDS
    assert all(sum(map(len, data)) == 4 * layout.shared_size for data in sent)
    everything = b"".join(part for data in sent for part in data)
    for nodes in nodes_of(peers):
        head = nodes.rows[0, layout.shared_size :].numpy()
        assert len(head) == 650
        assert not any(head[k : k + 4].tobytes() in everything for k in range(0, 648, 4))
        assert nodes.rows[0, : layout.shared_size].numpy().tobytes() not in everything  # mixed after sending


@in_trio
async def test_gossiping_peers_keep_personal_models_and_are_replayed(tmp_path):
    gossip = {"algorithm": "apfl_gossip", "share": 0.6, "adapts": True}
    async with network_of(tmp_path, 3, gossip=gossip) as peers:
        await until(lambda: min(peer.status().event for peer in peers) >= 15)
        homes = [peer.home for peer in peers]
    report = replay([home.directory for home in homes])
    assert [peer.verdict for peer in report.peers] == ["identical"] * 3
    for home in homes:
        task = saved_model.task_of_home(home)
        shared, own = (saved_model.saved_model(home, task, shared=each)[0] for each in (True, False))
        assert any(
            not one.equal(other) for one, other in zip(shared.parameters(), own.parameters(), strict=True)
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The home of a peer that has a personal model."""
    directory = tmp_path_factory.mktemp("personal")

    async def learn():
        await run_all(peers_in_rounds(directory, PEERS, **tables("apfl")))

    trio.run(learn)
    return Home(directory / "peer-1")


def test_a_home_gives_the_personal_model_unless_the_shared_one_is_asked_for(cli, home, tmp_path):
    expected = simulated("apfl")
    layout = Peer(home.directory).task.layout
    for options, rows in (((), expected.models), (("--shared",), expected.rows)):
        path = tmp_path / f"model{len(options)}.safetensors"
        assert cli("export", path, "--home", home.directory, *options)[0] == 0
        found = torch.cat([load_file(path)[entry.name].reshape(-1) for entry in layout.entries])
        assert (found - rows[1]).abs().max() < 1e-5
        own = Peer(home.directory).model(shared=bool(options))
        assert torch.cat([each.reshape(-1) for each in own.state_dict().values()]).equal(found)


def test_evaluations_in_records_are_of_the_personal_model(home):
    *_, last = records_of(home, "evaluation")
    task = Peer(home.directory).task
    data = task.dataset()
    personal, shared = simulated("apfl").models[1:2], simulated("apfl").rows[1:2]
    of_personal, of_shared = (
        float(task.evaluate(each, data.test_inputs, data.test_targets)["loss"]) for each in (personal, shared)
    )
    assert last["loss"] == pytest.approx(of_personal, rel=1e-5)
    assert last["loss"] != pytest.approx(of_shared, rel=1e-3)


def test_predictions_are_those_of_the_personal_model_and_fine_tuning_changes_them(cli, home, tmp_path):
    inputs = Peer(home.directory).task.dataset().test_inputs[:3]
    path = tmp_path / "inputs.csv"
    path.write_text("\n".join(",".join(map(str, each)) for each in inputs.tolist()))
    outputs = {}
    for options in ((), ("--shared",), ("--fine-tune", "3"), ("--shared", "--fine-tune", "3")):
        code, out, _ = cli("predict", path, "--home", home.directory, "--json", *options)
        assert code == 0
        outputs[options] = [json.loads(line)["outputs"] for line in out.splitlines()]
    with torch.no_grad():
        expected = Peer(home.directory).model()(inputs)
    assert torch.allclose(torch.tensor(outputs[()]), expected, atol=1e-5)
    assert len({json.dumps(each) for each in outputs.values()}) == 4


def test_the_checkpoint_holds_the_personal_model(home):
    saved = load_file(home.checkpoint)
    assert f"auxiliary.{PERSONAL}" in saved
