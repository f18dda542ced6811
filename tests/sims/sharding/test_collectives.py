"""Findings of shards together, and the bytes of them."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from sims.sharding import collectives
from sims.sharding.collectives import Collectives
from sims.sharding.partition import Partition
from sims.sharding.post import Post
from sims.sharding.start import sharded
from sims.world import build_world
from sims.world.networks import round_network
from tests.sims.sharding.test_rounds import GRAPH, scenario_of

SHARDS = 3
PARTITION = Partition(shard=np.array([2, 0, 1, 0, 2]), shards=SHARDS, cut=0, links=0)


def together(ask):
    """Ask a shard each, at the same time; return what they find, and their posts."""
    posts = {}
    for number in range(SHARDS):
        posts[number] = Post(number, lambda other, key, rows: posts[other].deliver(key, rows))
    with ThreadPoolExecutor(SHARDS) as pool:
        calls = [
            pool.submit(ask, Collectives(PARTITION, number, posts[number]), number)
            for number in range(SHARDS)
        ]
        return [call.result(timeout=30) for call in calls], list(posts.values())


@pytest.mark.parametrize("in_pieces", [True, False])
def test_sums_are_the_same_everywhere_in_pieces_and_whole(in_pieces, monkeypatch):
    """2 (S − 1) / S of a row instead of S − 1 rows, and the same numbers to the bit."""
    monkeypatch.setattr(collectives, "_IN_PIECES", 0 if in_pieces else 1 << 20)
    rows = np.random.default_rng(1).normal(size=(SHARDS, 12)) * 10.0 ** np.arange(12)
    found, posts = together(lambda shard, number: shard.sum(rows[number]))
    for each in found:
        np.testing.assert_array_equal(each, rows[0] + rows[1] + rows[2])
    assert [post.bytes for post in posts] == [8 * 12 * (4 / 3 if in_pieces else 2)] * SHARDS
    assert [post.messages for post in posts] == [4 if in_pieces else 2] * SHARDS


def test_rows_of_all_are_in_the_order_of_their_numbers():
    rows = np.arange(10.0).reshape(5, 2)
    found, posts = together(lambda shard, number: shard.rows(rows[PARTITION.members(number)]))
    for each in found:
        np.testing.assert_array_equal(each, rows)
    assert [post.bytes for post in posts] == [2 * 16 * count for count in (2, 1, 2)]
    found, _ = together(lambda shard, number: shard.largest(10 - number))
    assert found == [10] * SHARDS


def test_a_round_sends_each_row_once_to_every_shard_that_lacks_it():
    made = scenario_of("d_psgd", GRAPH)
    world = build_world(made)
    simulation = partial(sharded, shards=SHARDS)(made, world)
    simulation.advance(4, between=lambda: False)
    matrix, shard = round_network(made).sequence.matrix(0).tocoo(), simulation.partition.shard
    simulation.close()
    receivers, senders = shard[matrix.coords[0]], matrix.coords[1]
    crossing = {(to, node) for to, node in zip(receivers, senders, strict=True) if to != shard[node]}
    assert (
        sum(report.sent for report in simulation.reports) == 4 * len(crossing) * world.layout.shared_size * 8
    )
    assert crossing
