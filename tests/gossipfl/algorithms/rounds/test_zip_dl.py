"""Zip-DL: noise over copies that sums to zero, and hides a row from each single neighbour."""

from __future__ import annotations

import pytest
import torch

from gossipfl.algorithms import DPSGD, Mixed, RoundContext, ZipDL, run_round
from gossipfl.algorithms.rounds.zip_dl import zero_sum_noise
from gossipfl.algorithms.trial import trial_training
from gossipfl.errors import SettingError
from gossipfl.training import Nodes
from tests.gossipfl.algorithms.rounds.test_decor import N, links_of, ring

WIDTH = 300


def context_of(links):
    local = trial_training(torch.arange(N))
    return RoundContext(local=local, shared_size=WIDTH, round=2, numbers=torch.arange(N), seed=4, links=links)


def test_noise_over_copies_sums_to_zero_with_their_weights():
    linked = ring()
    linked[0, 2] = linked[2, 0] = True
    links = links_of(linked)
    links.weights.copy_(torch.rand(len(links.owner), generator=torch.Generator().manual_seed(1)) + 0.5)
    noise = zero_sum_noise(context_of(links), links, width=WIDTH, like=torch.zeros(1, dtype=torch.float64))
    for node in range(N):
        own = links.owner == node
        total = (links.weights[own, None] * noise[own]).sum(0)
        assert total.abs().max() < 1e-12
        assert (noise[own].std(dim=1) > 0.3).all()
    with pytest.raises(SettingError, match="only one neighbour"):
        path = ring()
        path[0, -1] = path[-1, 0] = False
        zero_sum_noise(context_of(links_of(path)), links_of(path), width=3, like=noise)


def one_round(algorithm, lost=()):
    links = links_of(ring())
    rows = torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    local = trial_training(torch.arange(N), rate=0.0)
    context = RoundContext(
        local=local, shared_size=WIDTH, round=0, numbers=torch.arange(N), seed=4, links=links
    )
    ends = list(zip(links.owner.tolist(), links.neighbours.tolist(), strict=True))
    back = [ends.index((other, owner)) for owner, other in ends]
    sent = []

    def carry_out(exchange):
        if isinstance(algorithm, DPSGD):
            W = torch.from_numpy(ring()).double() / 3
            return Mixed(rows=(W + torch.eye(N, dtype=torch.float64) / 3) @ exchange.rows, sent=exchange.rows)
        sent.append(exchange.rows[:, :WIDTH])
        arrived = exchange.rows[back].clone()
        arrived[list(lost)] = 0
        return Mixed(rows=arrived, sent=exchange.rows)

    after = run_round(algorithm, Nodes.start(rows), context, carry_out)
    return after.rows, rows, sent, links


def test_neighbours_see_noise_and_the_sum_of_all_models_does_not():
    plain, *_ = one_round(DPSGD())
    after, rows, (sent,), links = one_round(ZipDL(deviation=4.0))
    torch.testing.assert_close(after.sum(0), plain.sum(0), rtol=0, atol=1e-9)
    torch.testing.assert_close(after.sum(0), rows.sum(0), rtol=0, atol=1e-9)
    noise = sent - rows[links.owner]
    assert float(noise.std()) == pytest.approx(4.0 * (1 / 2) ** 0.5, rel=0.1)  # two copies: σ²(1 − 1/2)
    assert (after - plain).abs().max() > 1
    exact, *_ = one_round(ZipDL())
    torch.testing.assert_close(exact, plain)


def test_the_weight_of_a_lost_copy_stays_with_its_receiver():
    after, rows, (sent,), links = one_round(ZipDL(deviation=1.0), lost=[0])
    node, other = int(links.owner[0]), int(links.neighbours[1])
    assert node == int(links.owner[1])
    copies = list(zip(links.owner.tolist(), links.neighbours.tolist(), strict=True))
    arrived = sent[copies.index((other, node))]
    torch.testing.assert_close(after[node], rows[node] * 2 / 3 + arrived / 3)
