"""Partitions of networks, and what crosses between their shards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from sims.sharding.boundary import boundary_of
from sims.sharding.partition import divided, pattern_of_rounds
from sims.world.networks import RoundNetwork
from topology import graphs, mixing, sequences


def pattern_of(graph):
    return pattern_of_rounds(RoundNetwork(sequences.static(mixing.metropolis_hastings(graph), name="graph")))


@pytest.mark.parametrize(("shards", "cut"), [(1, 0), (2, 4), (4, 8)])
def test_a_ring_is_cut_into_arcs(shards, cut):
    found = divided(64, shards, pattern_of(graphs.ring(64)))
    assert np.bincount(found.shard).tolist() == [64 // shards] * shards
    assert (found.cut, found.links) == (cut, 128)


def test_a_torus_is_cut_into_blocks():
    """A block of 8 × 8 of a torus of 16 × 16 has 32 links to the others, and a strip as many."""
    found = divided(256, 4, pattern_of(graphs.torus((16, 16))))
    assert max(np.bincount(found.shard)) <= 1.05 * 64
    assert found.cut <= 1.25 * 4 * 32


def test_links_of_all_rounds_count():
    exponential = sequences.one_peer_exponential(16)
    pattern = pattern_of_rounds(RoundNetwork(exponential))
    assert pattern.sum() == 16 * exponential.period
    assert divided(16, 2, pattern).links == 16 * exponential.period


def test_where_everybody_hears_everybody_nodes_stay_in_order():
    found = divided(10, 3, None)
    assert found.shard.tolist() == sorted(found.shard.tolist())
    assert found.cut == 2 * (4 * 3 + 4 * 3 + 3 * 3)


@given(
    links=st.integers(1, 12).flatmap(lambda n: arrays(np.int8, (n, n), elements=st.integers(0, 1))),
    data=st.data(),
)
def test_boundaries_bring_each_shard_what_it_combines(links, data):
    """What shards send one another by these places makes W x, whatever the matrix and whoever has which row."""
    n = len(links)
    shard = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=np.int64)
    matrix = csr_array(links * np.arange(1.0, n * n + 1).reshape(n, n))
    x = np.arange(1.0, n + 1) ** 2
    found = [boundary_of(matrix, shard, each) for each in range(4)]
    for each, boundary in enumerate(found):
        own = x[shard == each]
        every = np.full(boundary.matrix.shape[1], np.nan)
        every[: len(own)] = own
        for other, places in boundary.received.items():
            every[places] = x[shard == other][found[other].sent[each]]
        assert every.tolist() == x[boundary.numbers].tolist()
        assert (boundary.matrix @ every).tolist() == (matrix @ x)[shard == each].tolist()
        assert {other for other in range(4) if each in found[other].sent} == set(boundary.received)
