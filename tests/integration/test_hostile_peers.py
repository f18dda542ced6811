"""Sixteen real peers, four of them hostile, beside simulations of the same network under the same attack."""

import json
import shutil
from bisect import bisect_right
from contextlib import nullcontext

import numpy as np
import pytest
import trio

from examples.false_labels import FALSE_LABELS
from examples.hostile_peer import Accomplices, HostilePeer
from gossipfl.algorithms.file_form import settings_of
from gossipfl.attacks import (
    ALIE,
    IPM,
    AgeInflation,
    Dissensus,
    LabelFlip,
    Mimic,
    Replay,
    ScaledNoise,
    SignFlip,
)
from gossipfl.network import load_or_create_identity
from gossipfl.peer import Peer
from gossipfl.peer.store.checkpoint import read_row
from gossipfl.tasks import find_task
from sims.replay import replay
from sims.replay.errors import TornRecords
from sims.running.run import run
from sims.scenario import parse_scenario
from sims.scenario.network import ConstantDelay
from tests.gossipfl.network.helpers import in_trio, until

from .gate_networks import digits_settings
from .peers import quick_settings, record_lines, running

PEERS, HOSTILE, PERIOD = 16, (3, 7, 11, 15), 0.75
#: At a constant rate, so that it does not matter how old models are when a loaded machine gets to train them.
TRAINING = {"learning_rate": 0.1, "momentum": 0.9, "batch_size": 32, "schedule": "constant"}
MERGES, SEEDS = 200, 3

SCENARIO = """
seed = {seed}
[population]
nodes = {nodes}
[task]
name = "digits"
partition = "iid"
[algorithm]
name = "gossip_learning"
exchange = "push-pull"
[training]
learning_rate = 0.1
momentum = 0.9
batch_size = 32
[network]
period = {period}
delay = {delay}
[gate]
[stop]
rounds = {rounds}
[evaluate]
every = {rounds}
[attack]
{attack}
"""

ATTACKS = [
    *(SignFlip(), ScaledNoise(), AgeInflation(of="first")),
    *(ALIE(factor=1.5), IPM(factor=0.9), Mimic(), LabelFlip(), Dissensus()),
]


def simulated(attack, *, rounds, delay, seed):
    """Mean accuracy of the honest, in percent."""
    parameters = {"name": attack.name, "nodes": list(HOSTILE), **settings_of(attack)}
    parameters = {name: value for name, value in parameters.items() if value is not None}
    text = SCENARIO.format(
        seed=seed,
        nodes=PEERS,
        rounds=rounds,
        period=PERIOD,
        delay=delay,
        attack="\n".join(f"{key} = {json.dumps(value)}" for key, value in parameters.items()),
    )
    result = run(parse_scenario(text), compile_when="never")
    return 100 * float(result.evaluations["accuracy_mean"][-1])


def merges(peer):
    return sum(each["kind"] == "merge" for each in record_lines(peer.home))


def versions_late(peers):
    """How many newer versions the sender of each merged model had when it was merged, ascending."""
    records = {
        load_or_create_identity(each.home.directory).peer_id: record_lines(each.home) for each in peers
    }
    made = {
        sender: [each["time"] for each in lines if each["kind"] in ("merge", "train")]
        for sender, lines in records.items()
    }
    return np.sort(
        [
            bisect_right(made[each["sender"]], each["time"]) - each["sender_event"]
            for lines in records.values()
            for each in lines
            if each["kind"] == "merge"
        ]
    ).clip(min=0)


def delay_of(late):
    """``network.delay`` by which models of a simulation, with two merges a period, are as late."""
    median, nine_tenths = np.quantile(late, [0.5, 0.9])
    if median < 1:
        return "{ seconds = 0.0 }"
    sigma = max(np.log(nine_tenths / median) / 1.2816, 0.01)  # of a lognormal distribution
    return f'{{ kind = "lognormal", median = {median * PERIOD / 2:.3f}, sigma = {sigma:.3f} }}'


async def learn(directory, attack):
    """Let the honest merge so many models each, and return all peers."""
    peers, bootstrap, together = [], (), Accomplices(len(HOSTILE))
    async with trio.open_nursery() as nursery:
        for index in range(PEERS):
            settings = digits_settings(
                index,
                bootstrap=bootstrap,
                task={"options": {"partition": "iid", "peers": PEERS, "index": index, "seed": 0}},
                exchange={"period": PERIOD},
                training=TRAINING,
            )
            home = directory / f"peer-{index}"
            if index in HOSTILE:
                peers.append(HostilePeer(home, attack, settings=settings, number=index, together=together))
            else:
                peers.append(Peer(home, settings=settings))
            nursery.start_soon(peers[-1].run)
            await peers[-1].ready.wait()
            bootstrap = bootstrap or peers[0].status().addresses
        while min(merges(peer) for index, peer in enumerate(peers) if index not in HOSTILE) < MERGES:
            await trio.sleep(1.0)
        for peer in peers:
            peer.stop()
    return peers


@pytest.mark.parametrize(
    "attack",
    [AgeInflation(factor=2.0, more=0), AgeInflation(), Replay(lag=2), ALIE(factor=2.0)],
    ids=["ages", "largest ages", "replay", "alie"],
)
@in_trio
async def test_models_of_peers_that_were_lied_to_are_replayed(attack, tmp_path):
    honest, changes = Peer(tmp_path / "peer-0", settings=quick_settings(0)), {"gate": {"enabled": False}}
    async with running(honest):
        bootstrap = honest.status().addresses
        hostile = HostilePeer(
            tmp_path / "peer-1", attack, settings=quick_settings(1, bootstrap=bootstrap, **changes), number=1
        )
        async with running(hostile):
            await until(lambda: min(peer.status().event for peer in (honest, hostile)) >= 20)
    homes = [peer.home.directory for peer in (honest, hostile)]
    for batched in (False, True):
        report = replay(homes, batched=batched)
        assert {each.verdict for each in report.peers} <= {"identical", "within tolerance"}
    assert all(each.identical for each in replay(homes).peers)
    shutil.rmtree(homes[1] / "lies")
    with pytest.raises(TornRecords, match="sender_age") if attack.name == "age_inflation" else nullcontext():
        assert not all(each.identical for each in replay(homes).peers)


@in_trio
async def test_models_of_peers_that_train_on_false_labels_are_replayed(tmp_path):
    honest = Peer(tmp_path / "peer-0", settings=quick_settings(0))
    async with running(honest):
        settings = quick_settings(1, bootstrap=honest.status().addresses)
        hostile = HostilePeer(tmp_path / "peer-1", LabelFlip(), settings=settings)
        async with running(hostile):
            await until(lambda: min(peer.status().event for peer in (honest, hostile)) >= 20)
        assert hostile.settings.task.name == FALSE_LABELS  # so a replay finds them
        true = find_task(settings.task.name, settings.task.options).dataset()
        falsified = hostile.task.dataset().train_targets
    assert falsified.equal(true.test_targets.max() - true.train_targets)
    assert all(each.identical for each in replay([tmp_path / "peer-0", tmp_path / "peer-1"]).peers)


@pytest.mark.parametrize(("median", "sigma"), [(6.0, 0.6), (2.0, 1.0), (0.4, 0.5)])
def test_models_of_a_simulation_are_made_as_late_as_those_of_real_peers(median, sigma):
    late = np.random.default_rng(0).lognormal(np.log(median), sigma, 20_000)
    scenario = parse_scenario(
        SCENARIO.format(
            seed=0,
            nodes=2,
            rounds=1,
            period=PERIOD,
            delay=delay_of(late),
            attack='name = "mimic"\nnodes = [1]',
        )
    )
    found = scenario.network.delay
    if median < 1:
        assert found == ConstantDelay(seconds=0.0)
    else:
        assert (found.median / PERIOD * 2, found.sigma) == pytest.approx((median, sigma), rel=0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_a_simulation_says_what_an_attack_does_to_real_peers_and_their_models_are_replayed(attack, tmp_path):
    peers = trio.run(learn, tmp_path, attack)
    honest = [peer for index, peer in enumerate(peers) if index not in HOSTILE]
    found, late = [accuracy(peer) for peer in honest], versions_late(peers)
    # On a loaded machine models wait to be merged, and more of some than of others until all have MERGES.
    rounds = round(sum(map(merges, honest)) / len(honest) / 2)
    expected = [simulated(attack, rounds=rounds, delay=delay_of(late), seed=seed) for seed in range(SEEDS)]
    came = sum(found) / len(found)
    print(f"\n{attack}: real {came:.2f} ({min(found):.1f} to {max(found):.1f}), {rounds} rounds, ", end="")
    print(f"{np.quantile(late, [0.1, 0.5, 0.9])} versions late, simulated {np.round(expected, 2)}")
    report = replay([peer.home.directory for peer in peers])
    assert all(each.identical for each in report.peers)
    assert abs(came - np.mean(expected)) <= 2 + np.ptp(expected)  # late models make seeds differ


def accuracy(peer):
    """Of the saved model, in percent."""
    row, data = read_row(peer.home.checkpoint)[0], peer.task.dataset()
    return 100 * float(peer.task.evaluate(row[None], data.test_inputs, data.test_targets)["accuracy"][0])
