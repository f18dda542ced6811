"""PowerGossip: low-rank differences over each link."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gossipfl.algorithms import DPSGD
from gossipfl.algorithms.rounds.power_gossip import PowerGossip
from gossipfl.algorithms.rounds.power_iteration import orthonormal
from gossipfl.errors import SettingError
from gossipfl.layout import layout_of
from tests.gossipfl.algorithms.compressing import (
    distance,
    network_of,
    normal_rows,
    random_symmetric,
    ring_matrix,
)
from tests.gossipfl.algorithms.rounds_by_hand import Still, after, few, quadratics, rounds, start_at


@given(seed=st.integers(0, 10**6), nodes=st.integers(3, 7), iterations=st.integers(1, 2))
@few
def test_with_full_rank_one_iteration_is_d_psgd(seed, nodes, iterations):
    """Square matrices and vectors; a second iteration mixes once more, but for the vectors."""
    W = random_symmetric(nodes, seed)
    algorithm = PowerGossip(shapes=((3, 3), (2,), (2, 2)), rank=3, iterations=iterations)
    local = quadratics(nodes, size=15, seed=seed, learning_rate=0.1, momentum=0.5)
    start = start_at(normal_rows(nodes, 15, seed=seed))
    ours = after(algorithm, start, network_of(W), local, count=1)
    once = after(DPSGD(), start, network_of(W), local, count=1).rows
    expected = once if iterations == 1 else W @ once
    expected[:, 9:11] = once[:, 9:11]
    assert torch.allclose(ours.rows, expected, rtol=0, atol=1e-10)


@given(seed=st.integers(0, 10**6), rank=st.integers(1, 3), iterations=st.integers(1, 3))
@few
def test_the_mean_is_preserved(seed, rank, iterations):
    algorithm = PowerGossip(shapes=((4, 6), (3,), (5, 2, 2)), rank=rank, iterations=iterations)
    start, local = normal_rows(6, 47, seed=seed), quadratics(6, size=47, kind=Still)
    network = network_of(random_symmetric(6, seed))
    for nodes, _ in rounds(algorithm, start_at(start), network, local, count=4):
        assert torch.allclose(nodes.rows.mean(0), start.mean(0), rtol=0, atol=1e-13)
        assert distance(nodes.rows) <= distance(start) * (1 + 1e-12)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_the_warm_start_finds_the_main_directions_of_a_fixed_difference(rank):
    """Two nodes that hardly move: the basis turns to the leading singular vectors of their difference."""
    generator = torch.Generator().manual_seed(3)
    U, _ = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64))
    V, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))
    D = U[:, :6] @ torch.diag(torch.tensor([32.0, 16, 8, 4, 2, 1], dtype=torch.float64)) @ V.T
    start = torch.stack([torch.zeros(48, dtype=torch.float64), D.flatten()])
    W = torch.tensor([[1 - 1e-9, 1e-9], [1e-9, 1 - 1e-9]], dtype=torch.float64)
    algorithm = PowerGossip(shapes=((8, 6),), rank=rank)
    nodes = after(algorithm, start_at(start), network_of(W), quadratics(2, size=1, kind=Still), count=40)
    (basis,) = orthonormal([nodes.auxiliary["left factors"].reshape(2, 8, rank)], keys=torch.zeros(2))
    for end in basis:
        cosines = torch.linalg.svdvals(U[:, :rank].T @ end)
        assert float(cosines.min()) > 1 - 1e-6


def test_both_ends_of_a_link_know_the_same_factors():
    algorithm = PowerGossip(shapes=((4, 5),), rank=2)
    network = network_of(random_symmetric(6, 4))
    local = quadratics(6, size=20, learning_rate=0.1)
    place = {end: at for at, end in enumerate(network.ends)}
    for nodes, _ in rounds(algorithm, start_at(normal_rows(6, 20)), network, local, count=5):
        for name in ("left factors", "right factors"):
            factors = nodes.auxiliary[name]
            other = factors[[place[j, i] for i, j in network.ends]]
            assert factors.equal(other)


def test_nodes_that_start_alike_wake_up():
    """No difference at first: bases that know nothing are drawn anew, until there is one."""
    local = quadratics(5, size=20, learning_rate=0.1)
    start = start_at(torch.zeros(5, 20, dtype=torch.float64))
    network = network_of(ring_matrix(5))
    ours = after(PowerGossip(shapes=((4, 5),)), start, network, local, count=60)
    alone = after(DPSGD(), start, network_of(torch.eye(5, dtype=torch.float64)), local, count=60)
    assert bool(torch.isfinite(ours.rows).all())
    assert distance(ours.rows) < 0.5 * distance(alone.rows)


def test_it_reaches_consensus_without_a_step_size():
    start, local = normal_rows(9, 149), quadratics(9, size=1, kind=Still)
    nodes = after(PowerGossip(rank=2), start_at(start), network_of(ring_matrix(9)), local, count=300)
    assert distance(nodes.rows) < 1e-12 * distance(start)


def test_messages_are_as_small_as_the_factors():
    """Alternately n and m numbers a matrix and rank; vectors once a round."""
    algorithm = PowerGossip(shapes=((10, 4), (7,), (6, 3, 3)), rank=2)
    start, local = start_at(normal_rows(4, 101)), quadratics(4, size=101, kind=Still)
    ((_, sent),) = rounds(algorithm, start, network_of(ring_matrix(4)), local, count=1)
    assert [exchange.rows.shape[1] for exchange in sent] == [2 * (4 + 9) + 7, 2 * (10 + 6)]


def test_shapes_come_from_a_layout():
    layout = layout_of(nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 4)))
    algorithm = PowerGossip(rank=3, iterations=1).fitted(layout)
    assert algorithm == PowerGossip(shapes=((3, 2, 2, 2), (3,), (4, 12), (4,)), rank=3, iterations=1)


@given(
    columns=st.integers(1, 4),
    kind=st.sampled_from(["random", "zero", "repeated", "tiny", "one zero", "huge", "nearly parallel"]),
    seed=st.integers(0, 100),
)
@few
def test_bases_are_orthonormal_whatever_they_are_made_of(columns, kind, seed):
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randn(3, 7, columns, generator=generator)
    factors = {
        "random": factors,
        "zero": 0 * factors,
        "repeated": factors[:, :, :1].expand(-1, -1, columns),
        "tiny": factors * 1e-38,
        "one zero": factors * (torch.arange(columns) != columns // 2),
        "huge": factors * 1e37,
        "nearly parallel": factors[:, :, :1] + 1e-7 * factors,
    }[kind]
    (basis,) = orthonormal([factors], keys=torch.arange(3) + seed)
    assert torch.allclose(basis.mT @ basis, torch.eye(columns).expand(3, -1, -1), atol=1e-5)
    (alone,) = orthonormal([factors[1:2]], keys=torch.arange(1, 2) + seed)
    assert alone[0].equal(basis[1])
    if kind == "random":  # the span is kept
        away = factors - basis @ (basis.mT @ factors)
        assert float(away.abs().max()) < 1e-5


def test_what_does_not_fit_is_refused():
    with pytest.raises(SettingError, match="rank is out of range"):
        PowerGossip(rank=0)
    with pytest.raises(SettingError, match="iterations is out of range"):
        PowerGossip(iterations=0)
    with pytest.raises(SettingError, match="shapes are not those of the shared row; expected 10; got 12"):
        PowerGossip(shapes=((3, 4),)).start(start_at(torch.zeros(2, 10)), shared_size=10)


def test_a_model_of_vectors_alone_is_sent_in_full():
    start, local = start_at(normal_rows(4, 5)), quadratics(4, size=5, kind=Still)
    ours = after(PowerGossip(shapes=((5,),), iterations=1), start, network_of(ring_matrix(4)), local, count=3)
    plain = after(DPSGD(), start, network_of(ring_matrix(4)), local, count=3)
    assert torch.allclose(ours.rows, plain.rows, rtol=0, atol=1e-13)
