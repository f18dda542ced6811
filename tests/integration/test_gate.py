"""Honest digits peers, as processes, and a liar among them: what the gate is worth over real sockets."""

import contextlib

import numpy as np
import pytest
import trio

from gossipfl.demo.plan import RECIPE
from gossipfl.peer import read_status
from gossipfl.settings import parse_settings
from gossipfl.tasks import find_task
from tests.gossipfl.network.helpers import in_trio

from .liar import LIES, Liar
from .peers import PeerProcess, records_of

PEERS = 8
EVENTS = 1200


def settings_of(index, *, bootstrap=(), peers=PEERS, gate=True):
    tables = {name: dict(table) for name, table in RECIPE.items()}
    tables["task"] = {
        "name": "digits",
        "options": {"partition": "shards:2", "peers": peers, "index": index, "seed": 0},
    }
    tables["runtime"] = {"number": index}
    tables["gate"] = {"enabled": gate}
    tables["network"]["bootstrap"] = list(bootstrap)
    return parse_settings(tables, source="a test")


@contextlib.contextmanager
def honest(directory, *, gate=True):
    peers, bootstrap = [], ()
    try:
        for index in range(PEERS):
            peer = PeerProcess(
                directory / f"peer-{index}", settings_of(index, bootstrap=bootstrap, gate=gate), forked=True
            )
            peers.append(peer)
            peer.start("--plain")
            bootstrap = bootstrap or peers[0].until_at(event=0)["addresses"]
        yield peers
    finally:
        for peer in peers:
            if peer.process is not None:
                peer.process.terminate()
        for peer in peers:
            if peer.process is not None:
                peer.process.wait(timeout=60)


async def until_all(peers, **least):
    with trio.fail_after(900):
        while not all(peer.is_at(**least) for peer in peers):
            await trio.sleep(0.1)


async def learn(directory, lie=None, *, gate=True, after=0):
    """Mean accuracy of the honest in percent once all have seen some events, and their refusals by sender."""
    with honest(directory, gate=gate) as peers:
        await until_all(peers, event=after)
        if lie is None:
            await until_all(peers, event=EVENTS)
        else:
            liar = Liar(lie, find_task("digits", settings_of(0).task.options), settings_of(0))
            victims = [(each.status()["peer_id"], tuple(each.status()["addresses"])) for each in peers]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(liar.run, victims)
                await until_all(peers, event=EVENTS)
                nursery.cancel_scope.cancel()
            assert liar.pushed > PEERS
    accuracies = [read_status(peer.home.status)["metrics"]["accuracy"] for peer in peers]
    refused = [each["sender"] for peer in peers for each in records_of(peer.home, "refusal")]
    honest_ids = {read_status(peer.home.status)["peer_id"] for peer in peers}
    return 100 * float(np.mean(accuracies)), [each for each in refused if each in honest_ids]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return trio.run(learn, tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("after", [0, 200], ids=["from the start", "later"])
@pytest.mark.parametrize("lie", LIES)
@in_trio
async def test_a_liar_costs_the_honest_at_most_a_point(lie, after, tmp_path, undisturbed):
    points, _ = await learn(tmp_path, lie, after=after)
    assert points >= undisturbed[0] - 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_honest_merge_is_refused(undisturbed):
    assert undisturbed[1] == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@in_trio
async def test_without_the_gate_a_lie_ends_what_all_have_learned(tmp_path):
    points, _ = await learn(tmp_path, "zeros", gate=False, after=200)
    assert points < 30
