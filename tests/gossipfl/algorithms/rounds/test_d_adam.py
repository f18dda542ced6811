"""Adam with mixed second moments: torch's for one node, and the optimum of all where nodes differ."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms.rounds.d_adam import SECOND, DAdam
from gossipfl.codecs import BFLOAT16
from gossipfl.errors import SettingError
from tests.gossipfl.algorithms.graphs_at_random import matrices
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    Quadratics,
    after,
    few,
    mean_matrix,
    quadratics,
    random_doubly_stochastic,
    rounds,
    start_at,
)

directed = st.builds(random_doubly_stochastic, st.integers(2, 9), st.integers(0, 1000))
betas = st.floats(0.0, 0.99)


def points(nodes, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(nodes, 3, generator=generator, dtype=torch.float64)


@few
@given(st.floats(0.01, 0.3), betas, betas, st.integers(0, 99))
def test_one_node_is_torchs_adam(rate, beta1, beta2, seed):
    local = quadratics(1, seed=seed, curved=True, largest=3, learning_rate=rate)
    start = start_at(points(1, seed=seed))
    x = start.rows.clone().requires_grad_()
    adam = torch.optim.Adam([x], lr=rate, betas=(beta1, beta2))
    alone = torch.ones(1, 1, dtype=torch.float64)
    before = start
    for now, _ in rounds(DAdam(beta1=beta1, beta2=beta2), start, Network.of(alone), local, count=7):
        x.grad = local.gradient(before)[1]
        adam.step()
        torch.testing.assert_close(now.rows, x.detach())
        before = now


@few
@given(matrices | directed, betas, st.integers(0, 99))
def test_the_mean_second_moment_is_that_of_all_gradients(W, beta2, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=0.05)
    before = start_at(points(len(W), seed=seed))
    mean = torch.zeros(3, dtype=torch.float64)
    for now, sent in rounds(DAdam(beta2=beta2), before, Network.of(W), local, count=6):
        mean = beta2 * mean + (1 - beta2) * local.gradient(before)[1].square().mean(0)
        torch.testing.assert_close(now.auxiliary[SECOND].mean(0), mean)
        assert [exchange.rows.shape for exchange in sent] == [(len(W), 3), (len(W), 3)]
        before = now


@few
@given(matrices | directed, st.integers(1, 5), st.integers(0, 99))
def test_each_moment_is_mixed_once_in_so_many_rounds(W, every, seed):
    """And the others stay the node's own; by hand for three numbers, in parts of one form."""
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=0.05)
    before = start_at(points(len(W), seed=seed))
    own = torch.zeros(len(W), 3, dtype=torch.float64)
    parts = {
        1: [{0, 1, 2}],
        2: [{0, 1}, {1, 2}],
        3: [{0}, {1}, {2}],
        4: [{0}, {1}, {2}, {2}],
        5: [{0}, {1}, {2}, {2}, {2}],
    }
    for number, (now, sent) in enumerate(
        rounds(DAdam(moments_every=every), before, Network.of(W), local, count=7)
    ):
        own = 0.999 * own + 0.001 * local.gradient(before)[1].square()
        mixed = sorted(parts[every][number % every])
        assert sent[1].rows.shape == (len(W), len(mixed))
        own[:, mixed] = (
            torch.as_tensor(W.toarray()) @ own[:, mixed] if hasattr(W, "toarray") else W @ own[:, mixed]
        )
        torch.testing.assert_close(now.auxiliary[SECOND], own)
        before = now


def test_moments_have_a_codec_of_their_own():
    local, alone = quadratics(2, seed=1, learning_rate=0.05), Network.of(mean_matrix(2))
    for codec, name in ((None, "float32"), (BFLOAT16, "bfloat16")):
        algorithm = DAdam(moments_codec=codec)
        ((_, sent),) = rounds(algorithm, start_at(points(2, seed=1)), alone, local, count=1)
        assert [exchange.compressor and exchange.compressor.name for exchange in sent] == [None, name]


def test_nodes_that_differ_meet_where_their_mean_gradient_is_zero():
    """At 1/11, where ½·10 x² + ½ (x − 1)² is least; with moments of their own near the middle of 0 and 1."""
    samples = [torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)]
    curvatures = torch.tensor([[10.0], [1.0]], dtype=torch.float64)
    local = Quadratics(samples, curvatures, quadratics(2, learning_rate=0.003).settings)
    found = after(
        DAdam(), start_at(torch.full((2, 1), 0.6).double()), Network.of(mean_matrix(2)), local, count=2500
    )
    torch.testing.assert_close(found.rows, torch.full((2, 1), 1 / 11).double(), atol=0.01, rtol=0)


def test_what_stays_local_has_a_second_moment_of_its_own():
    local = quadratics(2, seed=1, curved=True, learning_rate=0.05)
    first = start_at(points(2, seed=1))
    now = after(DAdam(), first, Network.of(mean_matrix(2)), local, count=1, shared_size=2)
    own = 0.001 * local.gradient(first)[1].square()
    torch.testing.assert_close(now.auxiliary[SECOND][:, 2], own[:, 2])
    torch.testing.assert_close(now.auxiliary[SECOND][:, :2], own[:, :2].mean(0).expand(2, -1))
    assert now.rows[0, 2] != now.rows[1, 2]
    assert torch.equal(now.rows[0, :2], now.rows[1, :2])


@pytest.mark.parametrize("wrong", [{"beta1": 1.0}, {"beta2": -0.1}, {"epsilon": 0.0}, {"moments_every": 0}])
def test_parameters_out_of_range_are_named(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        DAdam(**wrong)
