"""Peers whose modules hold more than parameters: they train, resume as they were, and notice other starts."""

import random

import numpy as np
import pytest
import torch

from gossipfl.peer import Peer
from gossipfl.peer.store.checkpoint import load_checkpoint
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import quick_settings, records_of, running


def settings_for(kind, index=0, *, bootstrap=(), **options):
    task = {
        "name": "tests.integration.module_tasks:holding",
        "options": {"kind": kind, "index": index, **options},
    }
    return quick_settings(index, bootstrap=bootstrap, task=task)


def draw_from_everywhere():
    """Leave all generators of the process somewhere else."""
    torch.rand(3), np.random.rand(3), random.random()


def outputs_of(peer):
    inputs = torch.linspace(-1, 1, 32).reshape(2, 16)
    with torch.no_grad():
        return peer.model()(inputs)


@pytest.mark.parametrize("kind", ["mask", "constants"])
def test_what_a_module_holds_is_there_after_a_restart(tmp_path, kind):
    @in_trio
    async def run():
        hub = Peer(tmp_path / "hub", settings=settings_for(kind))
        async with running(hub):
            bootstrap = hub.status().addresses
            first = Peer(tmp_path / "other", settings=settings_for(kind, 1, bootstrap=bootstrap))
            async with running(first):
                await until(lambda: first.status().metrics.get("accuracy", 0) > 0.85)
                await until(lambda: any(each["sender"] for each in records_of(first.home, "merge")))
                assert first.status().divergences == hub.status().divergences == 0
        assert records_of(hub.home, "merge")
        saved = load_checkpoint(first.home.checkpoint, first.task, optimiser_state_size=0)
        assert saved.nodes.ages[0] > 0
        draw_from_everywhere()
        data = first.task.data()
        before = first.task.evaluate(saved.nodes.rows, data.test_inputs, data.test_targets)
        again = Peer(tmp_path / "other")
        saved = load_checkpoint(first.home.checkpoint, again.task, optimiser_state_size=0)
        after = again.task.evaluate(saved.nodes.rows, data.test_inputs, data.test_targets)
        assert torch.equal(before["accuracy"], after["accuracy"])
        assert after["accuracy"] >= 0.85  # what was saved may be a step behind
        async with running(again):
            start = records_of(again.home, "start")[-1]
            assert start["age"] == int(saved.nodes.ages[0])
            found = outputs_of(again)
            assert torch.equal(found.isfinite(), outputs_of(first).isfinite())
            await until(lambda: again.status().step > start["step"])
            await until(lambda: again.status().metrics.get("accuracy", 0) >= 0.85)

    run()


@in_trio
async def test_peers_with_other_starts_notice_at_their_first_exchange(tmp_path):
    hub = Peer(tmp_path / "hub", settings=settings_for("shift"))
    async with running(hub):
        bootstrap = hub.status().addresses
        alike = Peer(tmp_path / "alike", settings=settings_for("shift", 1, bootstrap=bootstrap))
        apart = Peer(tmp_path / "apart", settings=settings_for("shift", 2, bootstrap=bootstrap, shift=1e-6))
        async with running(alike, apart):
            await until(lambda: hub.counters.refused["incompatible_task"])
            await until(lambda: records_of(alike.home, "merge"))
            await until(lambda: records_of(apart.home, "exchange"))
    assert hub.task.layout.digest == apart.task.layout.digest
    assert not records_of(apart.home, "merge")
    stranger = apart.status().peer_id
    assert all(each["sender"] != stranger for each in records_of(hub.home, "merge"))
    assert {each["outcome"] for each in records_of(apart.home, "exchange")} == {"incompatible_task"}
