"""The records of real peers suffice to compute their models again, bit for bit."""

from functools import partial

import polars
import pytest
import torch
import trio

from gossipfl.peer import Peer, read_records
from gossipfl.peer.store.checkpoint import load_checkpoint
from gossipfl.tasks import find_task
from gossipfl.training import NodeData, Trainer
from tests.gossipfl.network.helpers import in_trio, until

from .peers import PeerProcess, network_of, quick_settings, record_lines, records_of, running
from .replayer import replay


def last_state(peer_settings, home):
    task = find_task(peer_settings.task.name, peer_settings.task.options)
    data = NodeData.of_one_node(task.data().train_inputs, task.data().train_targets)
    size = Trainer.of(task, data, peer_settings.training).optimiser_state_size
    saved = load_checkpoint(home.checkpoint, task, optimiser_state_size=size)
    peer_id = record_lines(home)[0]["peer"]
    return (peer_id, saved.incarnation, saved.event), saved.nodes


def assert_replayed(places, *, least):
    """Every checkpoint's row, age, step and momentum come out again, from at least so many events."""
    states = replay([home for _, home in places])
    assert len(states) >= least
    for settings, home in places:
        name, nodes = last_state(settings, home)
        assert torch.equal(states[name].rows, nodes.rows), name
        assert torch.equal(states[name].ages, nodes.ages)
        assert torch.equal(states[name].steps, nodes.steps)
        assert torch.equal(states[name].optimiser_state, nodes.optimiser_state)
    return states


EVENTS = ("merge", "train", "adopt", "go_back")


def assert_events_are_consecutive(home):
    for start in records_of(home, "start"):
        own = [each for each in record_lines(home) if each["incarnation"] == start["incarnation"]]
        events = [each["event"] for each in own if each["kind"] in EVENTS]
        assert events == list(range(start["event"] + 1, start["event"] + 1 + len(events)))


@pytest.mark.parametrize(
    "changes",
    [
        {
            "training": {"momentum": 0.9, "clip_norm": 1.0},
            "exchange": {"codec": "bfloat16", "merges_per_training": 3},
        },
        {
            "gossip": {"merge": "UM"},
            "training": {"local_steps": 2, "schedule": "inverse", "decay_age": 50},
            "exchange": {"merges_per_training": 1, "mode": "push", "codec": "qsgd:63:32"},
        },
    ],
    ids=["momentum, bfloat16", "UM, push, random rounding"],
)
@in_trio
async def test_peers_in_one_program_are_replayed(tmp_path, changes):
    async with network_of(tmp_path, 4, **changes) as peers:
        await until(lambda: min(peer.status().event for peer in peers) >= 40)
    places = [(peer.settings, peer.home) for peer in peers]
    for _, home in places:
        assert_events_are_consecutive(home)
    assert_replayed(places, least=160)


def test_a_run_with_a_killed_and_restarted_process_is_replayed(tmp_path):
    """What the killed process had sent beyond its last checkpoint lives on in the others' models."""
    with PeerProcess(
        tmp_path / "victim", quick_settings(9, checkpoint={"period": 2.0}), forked=True
    ) as victim:
        victim.start("--plain")
        victim.until_at(event=1)
        peers = trio.run(partial(around_a_killed, victim, tmp_path))
        victim.process.terminate()
        assert victim.process.wait(timeout=60) == 0
    places = [(peer.settings, peer.home) for peer in peers]
    places.append((quick_settings(9), victim.home))
    assert_events_are_consecutive(victim.home)
    starts = records_of(victim.home, "start")
    killed, again = (start["incarnation"] for start in starts)
    assert killed < again
    assert starts[1]["resumed_from"] == killed
    states = assert_replayed(places, least=300)
    # The victim lost events to the kill, and recorded them all the same.
    lost = [name for name in states if name[0] == starts[0]["peer"] and name[1] == killed]
    assert max(event for _, _, event in lost) > starts[1]["event"]


def events_since_a_save(home):
    """How far the newest record is beyond the newest checkpoint; 0 before there is one."""
    lines = record_lines(home)
    saved = [each["event"] for each in lines if each["kind"] == "saved"]
    return max(each.get("event", 0) for each in lines) - saved[-1] if saved else 0


async def around_a_killed(victim, tmp_path):
    with trio.fail_after(120):
        bootstrap = victim.status()["addresses"]
        peers = [Peer(tmp_path / "peer-0", settings=quick_settings(0, bootstrap=bootstrap))]
        async with running(*peers):
            more = [
                Peer(
                    tmp_path / f"peer-{i}", settings=quick_settings(i, bootstrap=peers[0].status().addresses)
                )
                for i in (1, 2)
            ]
            async with running(*more):
                peers += more
                await until(lambda: victim.is_at(event=60), seconds=60)
                await until(lambda: events_since_a_save(victim.home) >= 3, seconds=60)
                victim.process.kill()
                victim.process.wait()
                before = peers[0].status().event
                # It comes back at another port, and asks the others.
                address = peers[0].status().addresses[0]
                victim.start("--plain", "--network-bootstrap", address)
                await until(lambda: victim.is_at(event=100), seconds=60)
                assert peers[0].status().event > before
    return peers


@in_trio
async def test_a_peer_that_diverged_is_healed_by_its_neighbour_and_replayed(tmp_path, caplog):
    """One of its samples ruins the model whenever it is drawn; a small checkpoint period moves what is good."""

    def settings(index, *, outlier, bootstrap=()):
        return quick_settings(
            index,
            bootstrap=bootstrap,
            task={
                "name": "tests.integration.tasks:regression",
                "options": {"index": index, "outlier": outlier},
            },
            training={"batch_size": 4, "learning_rate": 0.01, "momentum": 0.5},
        )

    sound = Peer(tmp_path / "sound", settings=settings(0, outlier=False))
    async with running(sound):
        bootstrap = sound.status().addresses
        ruined = Peer(tmp_path / "ruined", settings=settings(1, outlier=True, bootstrap=bootstrap))
        async with running(ruined):
            await until(lambda: len(records_of(ruined.home, "adopt")) >= 2)
            assert ruined.model().weight.isfinite().all()
            assert ruined.status().divergences >= 2
            assert ruined.status().to_dict()["divergences"] >= 2
            since = ruined.status().event
            await until(lambda: ruined.status().event >= since + 10)
    assert "the model diverged" in caplog.text
    assert not any("non_finite_update" in peer.counters.refused for peer in (sound, ruined))
    went_back = records_of(ruined.home, "go_back")
    assert {each["trained"] for each in went_back} == {False}
    assert_events_are_consecutive(ruined.home)
    states = assert_replayed([(peer.settings, peer.home) for peer in (sound, ruined)], least=20)
    identity, incarnation = went_back[0]["event"] - 1, went_back[0]["incarnation"]
    [name] = [
        name for name in states if name[1:] == (incarnation, identity) and name[0] == ruined.status().peer_id
    ]
    assert not states[name].rows.isfinite().all()  # it really had diverged there


@in_trio
async def test_records_read_as_one_table(tmp_path):
    async with network_of(tmp_path, 2) as peers:
        await until(lambda: min(peer.status().event for peer in peers) >= 5)
        kinds = ("saved", "exchange")  # the first peer exchanges once it has heard of the other
        await until(lambda: all(records_of(peer.home, kind) for peer in peers for kind in kinds))
        running_table = read_records(peers[0].home.records)  # while the peer writes on
    table = read_records(peers[0].home.records)
    assert len(table) >= len(running_table) > 5
    assert set(table["kind"]) >= {"start", "merge", "evaluation", "saved", "exchange"}
    merges = table.filter(polars.col("kind") == "merge")
    assert set(merges["sender"]) == {peers[1].status().peer_id}
    for column in (
        "event",
        "age",
        "step",
        "sender_event",
        "sender_age",
        "sender_incarnation",
        "sender_sequence",
        "codec",
        "trained",
    ):
        assert merges[column].null_count() == 0
    assert table["kind"][0] == "start"
    assert table["kind"][-1] == "saved"
    assert table["event"][-1] == peers[0].status().event
