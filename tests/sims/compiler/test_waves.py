"""Waves replayed with plain integers: every update must see the version its message was made from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sims.compiler.operations import ON_RECEIPT
from sims.compiler.timeline import Timeline
from sims.compiler.waves import compile_waves
from sims.engine.blocks import cut
from tests.sims.worlds import SECOND, conditions, small


def execute_in_order(windows):
    """Versions taken in by each update, by plain bookkeeping: (node, own version, sender, its version)."""
    version, taken = {}, []
    kept: dict[int, tuple[int, int]] = {}
    for window, renamed in windows:
        made = {}
        for e, (kind, node, ref) in enumerate(zip(window.kind, window.node, window.ref, strict=True)):
            if kind != ON_RECEIPT:
                made[e] = (int(node), version.get(int(node), 0))
                continue
            sender, sent = made[int(ref)] if ref >= 0 else kept[int(ref)]
            taken.append((int(node), version.get(int(node), 0), sender, sent))
            version[int(node)] = version.get(int(node), 0) + 1
        still = {}
        for before, after in zip(window.pending, renamed, strict=True):
            still[int(after)] = made[int(before)] if before >= 0 else kept[int(before)]
        kept = still
    return taken


def execute_in_waves(n, compiled):
    """The same from waves: a table of (node, version), all of a wave read before any is written."""
    table = {i: (i, 0) for i in range(n)}
    taken = []
    for waves in compiled:
        for origin, place in zip(waves.first_node, waves.first_keep, strict=True):
            table[int(place)] = table[int(origin)]
        start = 0
        for end in waves.group_ends[:, -1]:
            updates = range(start, end)
            assert len({int(waves.node[u]) for u in updates}) == len(updates)
            # Blocks run in any order: nothing read in a wave may be written in it, but a node's own row.
            written = {int(waves.node[u]): u for u in updates} | {
                int(waves.keep[u]): u for u in updates if waves.keep[u] != n
            }
            for u in updates:
                assert written.get(int(waves.source[u]), u) == u
                taken.append((*table[int(waves.node[u])], *table[int(waves.source[u])]))
            for u in updates:
                node, version = table[int(waves.node[u])]
                table[int(waves.node[u])] = (node, version + 1)
                if waves.keep[u] != n:
                    table[int(waves.keep[u])] = (node, version + 1)
            start = end
    return taken


def windows_and_waves(scenario, *, capacity, groups=None, most_operations=10**6, rounds=6):
    n = scenario.population.nodes
    timeline = Timeline(conditions(scenario), most_operations=most_operations)
    groups = np.zeros(n, dtype=np.int64) if groups is None else groups
    windows, compiled = [], []
    for window in timeline.windows(rounds * SECOND):
        waves = compile_waves(window, groups, capacity=capacity)
        timeline.kept(waves.pending)
        copy = {
            name: getattr(window, name).copy()
            for name in ("kind", "node", "ref", "part", "begun", "time", "pending")
        }
        windows.append((type(window)(**copy), waves.pending))
        compiled.append(waves)
    return windows, compiled


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    capacity=st.integers(1, 30),
    most_operations=st.sampled_from([9, 30, 10**6]),
    exchange=st.sampled_from(["push", "pull", "push-pull"]),
    delay=st.sampled_from([0.0, 0.2, 1.7]),
)
def test_every_update_sees_the_versions_it_would_in_order(seed, capacity, most_operations, exchange, delay):
    scenario = small(
        f"seed={seed}",
        f"algorithm.exchange={exchange}",
        f"network.delay={{kind='lognormal',median={delay + 0.01},sigma=1.0}}"
        if delay
        else "network.loss=0.1",
    )
    windows, compiled = windows_and_waves(scenario, capacity=capacity, most_operations=most_operations)
    expected, came = execute_in_order(windows), execute_in_waves(24, compiled)
    assert sorted(expected) == sorted(came)
    assert len(expected) > 10


def test_no_wave_is_wider_than_allowed_and_groups_stay_apart():
    groups = np.arange(24) % 3
    windows, compiled = windows_and_waves(small(), capacity=2, groups=groups)
    assert len(execute_in_order(windows)) == sum(len(waves.node) for waves in compiled)
    for waves in compiled:
        starts = np.concatenate([[0], waves.group_ends.reshape(-1)[:-1]])
        for cell, (start, end) in enumerate(zip(starts, waves.group_ends.reshape(-1), strict=True)):
            assert end - start <= 2
            assert set(groups[waves.node[start:end]]) <= {cell % 3}


def test_messages_with_the_same_model_share_a_slot():
    """A node that sends many times before it is updated needs its model kept once."""
    scenario = small("topology.name=star", "network.delay.seconds=5.5", "algorithm.exchange=push")
    _, compiled = windows_and_waves(scenario, capacity=100, rounds=4)
    assert compiled[-1].slots == 24
    assert len(compiled[-1].pending) > 80


def test_steps_count_the_updates_of_each_node():
    _, compiled = windows_and_waves(small(), capacity=5)
    for waves in compiled:
        for node in range(24):
            assert waves.step[waves.node == node].tolist() == list(range((waves.node == node).sum()))


@pytest.mark.parametrize("size", [1, 3, 32])
def test_blocks_hold_every_update_once_and_pad_with_nobody(size):
    _, (waves,) = windows_and_waves(small(), capacity=7)
    blocks = cut(waves, size=size, n=24)
    own = blocks.columns[:, 0] != 24
    assert blocks.columns.shape[1:] == (6, size)
    assert blocks.columns[:, 0][own].tolist() == waves.node.tolist()
    assert blocks.columns[:, 1][own].tolist() == waves.source.tolist()
    assert blocks.columns[:, 3][own].tolist() == waves.keep.tolist()
    assert (blocks.columns[:, 3][~own] == 24).all()
    assert blocks.wave_ends[-1] == len(blocks.columns)
