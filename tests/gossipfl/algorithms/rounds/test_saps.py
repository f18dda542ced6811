"""SAPS: the update of the paper, its published contraction, and what it sends."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from gossipfl.algorithms import DPSGD, RoundContext, RoundInProgress
from gossipfl.algorithms.rounds.saps import SAPS
from gossipfl.errors import SettingError
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    Still,
    after,
    few,
    quadratics,
    random_doubly_stochastic,
    rounds,
    start_at,
)
from topology.sequences.adaptive import matching_by_proposals, maximum_matching


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform_matchings(nodes, first=0, match=matching_by_proposals):
    """A fresh perfect matching of all nodes each round, all equally likely."""

    def matrix(t):
        partners = torch.from_numpy(match(np.ones((nodes, nodes), dtype=bool), 1000 + first + t))
        return (torch.eye(nodes, dtype=torch.float64) + torch.eye(nodes, dtype=torch.float64)[partners]) / 2

    return Network(matrix)


@few
@given(st.integers(2, 9), st.floats(0.05, 1), st.floats(0.01, 0.3), st.integers(0, 99))
def test_masked_numbers_are_mixed_and_then_everyone_steps(nodes, share, rate, seed):
    W, size = random_doubly_stochastic(nodes, seed), 20
    local = quadratics(nodes, size=size, seed=seed, curved=True, learning_rate=rate)
    X = normal(nodes, size, seed=seed)
    targets = torch.cat(list(local.samples_of))
    for now, (sent,) in rounds(SAPS(share=share), start_at(X), Network.of(W), local, count=5, seed=seed):
        assert abs(sent.rows.shape[1] - share * size) < 1
        places = [int((X[0] == value).nonzero()[0]) for value in sent.rows[0]]  # all numbers differ
        assert torch.equal(sent.rows, X[:, places])
        mixed = X.clone()
        mixed[:, places] = W @ X[:, places]
        stepped, alone = (each - rate * local.curvatures * (each - targets) for each in (mixed, X))
        wrong = [
            k
            for k in range(size)
            if not torch.allclose(now.rows[:, k], stepped[:, k], rtol=1e-12, atol=1e-12)
        ]
        assert len(wrong) <= (share * size % 1 > 0)  # one is left out where that is no whole number
        assert torch.allclose(now.rows[:, wrong], alone[:, wrong], rtol=1e-12, atol=1e-12)
        X = now.rows


@few
@given(st.integers(2, 9), st.integers(0, 99))
def test_with_all_numbers_it_is_d_psgd(nodes, seed):
    local = quadratics(nodes, seed=seed, curved=True, learning_rate=0.1)
    arguments = (start_at(normal(nodes, 3)), Network.of(random_doubly_stochastic(nodes, seed)), local)
    one = after(SAPS(share=1.0), *arguments, count=5)
    assert torch.equal(one.rows, after(DPSGD(order="combine-then-adapt"), *arguments, count=5).rows)


@pytest.mark.parametrize(
    ("nodes", "share", "contraction", "size"),
    [
        (16, 0.1, 0.946667, 400),
        (32, 0.01, 0.994839, 400),
        (2, 0.25, 0.75, 400),
        (7, 0.3, 0.85, 400),  # one rests: ρ² = 1/2 for every odd n
        (10, 0.05, 1 - 0.05 * 5 / 9, 30),  # a mask of one number and a half
        (6, 0.01, 1 - 0.01 * 3 / 5, 20),  # of a fifth of one
    ],
)
def test_a_round_contracts_as_published(nodes, share, contraction, size):
    """q + pρ² with ρ² = (n − 2)/(2(n − 1)) for uniform perfect matchings (Tang et al. 2023)."""
    squared = (nodes - 2) / (2 * (nodes - 1)) if nodes % 2 == 0 else 0.5
    assert 1 - share + share * squared == pytest.approx(contraction, abs=5e-7)
    ratios, local = [], quadratics(nodes, size=size, kind=Still)
    for seed in range(300):
        rows = normal(nodes, size, seed=seed)
        rows -= rows.mean(0)
        now = after(
            SAPS(share=share), start_at(rows), uniform_matchings(nodes, seed), local, seed=seed, count=1
        )
        assert torch.allclose(now.rows.mean(0), torch.zeros(size, dtype=torch.float64), atol=1e-12)
        ratios.append(float(now.rows.square().sum() / rows.square().sum()))
    assert np.mean(ratios) == pytest.approx(contraction, abs=4 * np.std(ratios) / 300**0.5)


@pytest.mark.parametrize("match", [maximum_matching, matching_by_proposals])
def test_the_second_eigenvalue_of_expected_squares_is_that_of_uniform_matchings(match):
    nodes, network = 8, uniform_matchings(8, match=match)
    mean = torch.stack([network.matrix(t).T @ network.matrix(t) for t in range(400)]).mean(0)
    second = torch.linalg.eigvalsh(mean)[-2]
    assert float(second) == pytest.approx((nodes - 2) / (2 * (nodes - 1)), abs=0.06)


@pytest.mark.parametrize(("share", "size"), [(0.05, 30), (1e-3, 7), (0.99, 10), (0.5, 1), (0.3, 11)])
def test_every_number_is_mixed_with_the_probability_that_is_asked_for(share, size, seed=7):
    """Whatever share · P rounds to."""
    local, mixed, count = quadratics(2, size=size, kind=Still), 0, 200
    network = Network.of(1 - torch.eye(2, dtype=torch.float64))
    before = normal(2, size, seed=seed)
    for now, (sent,) in rounds(SAPS(share=share), start_at(before), network, local, count=count, seed=seed):
        assert abs(sent.rows.shape[1] - share * size) < 1
        mixed, before = mixed + int((now.rows != before)[0].sum()), now.rows
    rest = share * size % 1
    assert mixed / count == pytest.approx(share * size, abs=4 * (rest * (1 - rest) / count) ** 0.5)


def test_every_coordinate_is_as_likely_as_any_other():
    size, seen = 12, np.zeros(12)
    local = quadratics(2, size=size, kind=Still)
    network = Network.of(torch.eye(2, dtype=torch.float64))
    rows = torch.arange(2 * size, dtype=torch.float64).reshape(2, size)
    for _, (sent,) in rounds(SAPS(share=0.25), start_at(rows), network, local, count=600):
        assert sent.rows.shape == (2, 3)
        seen[sent.rows[0].long()] += 1
    assert chisquare(seen).pvalue > 1e-4


@few
@given(st.integers(0, 8), st.integers(0, 9), st.integers(0, 99))
def test_a_node_alone_finds_the_mask_of_all_whatever_it_did_before(number, round_number, seed):
    """A restarted node is not in step with a generator: the mask is a function of seed and round."""
    size = 30
    places = torch.arange(9 * size, dtype=torch.float64).reshape(9, size)

    def sent_by(numbers):
        nodes = start_at(places[numbers])
        local = quadratics(len(numbers), size=size, kind=Still)
        context = RoundContext(
            local=local, shared_size=size, round=round_number, numbers=torch.tensor(numbers), seed=seed
        )
        return RoundInProgress(SAPS(share=0.2), nodes, context).exchange.rows

    assert torch.equal(sent_by([number])[0], sent_by(list(range(9)))[number])


def test_a_lost_partner_costs_nothing_but_the_mixing():
    """Its weight goes to the node itself, which takes its step as it would alone."""
    local = quadratics(4, size=6, curved=True, learning_rate=0.1)
    nodes = start_at(normal(4, 6))
    pairs = torch.tensor(
        [[0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64
    )
    now = after(SAPS(share=0.5), nodes, Network.of(pairs), local, count=1)
    alone = local.update(nodes)
    assert torch.equal(now.rows[2:], alone.rows[2:])
    assert not torch.equal(now.rows[:2], alone.rows[:2])


@pytest.mark.parametrize("wrong", [0.0, 1.5, -0.1])
def test_a_share_out_of_range_is_refused(wrong):
    with pytest.raises(SettingError, match="saps: share is out of range"):
        SAPS(share=wrong)
