"""DiLoCo, NoLoCo and GASLoC: the updates of the papers, and what they reduce to."""

import importlib.util
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD
from gossipfl.algorithms.rounds.diloco import DiLoCo
from gossipfl.algorithms.rounds.gasloc import GASLoC
from gossipfl.algorithms.rounds.noloco import NoLoCo
from gossipfl.errors import SettingError
from gossipfl.training import Nodes
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    Quadratics,
    Still,
    after,
    few,
    mean_matrix,
    quadratics,
    random_doubly_stochastic,
    rounds,
    start_at,
)

EXAMPLES = Path(__file__).parents[4] / "examples"
weights = st.builds(random_doubly_stochastic, st.integers(2, 9), st.integers(0, 1000))
momenta, rates, seeds, steps = st.floats(0, 0.95), st.floats(0.1, 1.5), st.integers(0, 99), st.integers(1, 4)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def training(nodes, seed, local_steps=3, **others):
    about = {"learning_rate": 0.1, "momentum": 0.3, **others}
    return quadratics(nodes, seed=seed, curved=True, largest=4, local_steps=local_steps, **about)


def trained(local, now, rows):
    """What local steps make of rows, with the optimiser's state and the samples of now."""
    state = Nodes(
        rows=rows, ages=now.ages, steps=now.steps, optimiser_state=now.optimiser_state, auxiliary={}
    )
    return local.update(state)


def same(now, expected):
    assert torch.allclose(now, expected, rtol=1e-9, atol=1e-9)


@few
@given(st.integers(2, 9), momenta, rates, seeds, steps)
def test_diloco_follows_the_paper(nodes, beta, eta, seed, H):
    """θ ← θ − η(Δ + βm) with m ← βm + Δ and Δ = mean(θ − θ_i), one θ for all."""
    local, theta = training(nodes, seed, H), normal(3, seed=seed)
    momentum, state = torch.zeros(3, dtype=torch.float64), start_at(theta.expand(nodes, -1))
    algorithm = DiLoCo(momentum=beta, outer_rate=eta)
    for now, (sent,) in rounds(algorithm, state, Network.of(mean_matrix(nodes)), local, count=5):
        inner = trained(local, state, theta.expand(nodes, -1))
        assert sent.rows.shape == (nodes, 3)
        delta = (theta - inner.rows).mean(0)
        momentum = beta * momentum + delta
        theta = theta - eta * (delta + beta * momentum)
        same(now.rows, theta.expand(nodes, -1))
        state = now


@few
@given(st.integers(2, 9), momenta, seeds)
def test_diloco_by_all_reduce_is_diloco_over_the_complete_graph(nodes, beta, seed):
    local, start = training(nodes, seed), start_at(normal(1, 3, seed=seed).expand(nodes, -1))
    network = Network.of(mean_matrix(nodes))
    one = after(DiLoCo(momentum=beta), start, network, local, count=5)
    other = after(DiLoCo(momentum=beta, average="all-reduce"), start, network, local, count=5)
    same(one.rows, other.rows)


def test_diloco_brings_slow_weights_together_that_were_apart():
    nodes, local = 5, training(5, 1)
    now = after(DiLoCo(), start_at(normal(5, 3)), Network.of(mean_matrix(nodes)), local, count=300)
    assert float((now.rows - now.rows.mean(0)).norm()) < 1e-6


@few
@given(weights, momenta, rates, st.none() | st.floats(0, 1.5), seeds, steps)
def test_noloco_follows_the_authors_code(W, mu, eta, pull, seed, H):
    local, n = training(len(W), seed, H), len(W)
    phi = normal(n, 3, seed=seed)
    momentum, state = torch.zeros_like(phi), start_at(phi)
    algorithm = NoLoCo(momentum=mu, outer_rate=eta, pull=pull)
    for now, (sent,) in rounds(algorithm, state, Network.of(W), local, count=5):
        inner = trained(local, state, phi)
        momentum = (
            mu * momentum + eta * W @ (inner.rows - phi) + (eta if pull is None else pull) * (W @ phi - phi)
        )
        phi = phi + momentum
        same(now.rows, phi)
        assert sent.rows.shape == (n, 3 if pull is None else 6)
        state = now


@few
@given(weights, momenta, rates, seeds)
def test_with_one_rate_noloco_needs_half_of_the_numbers(W, mu, eta, seed):
    arguments = (start_at(normal(len(W), 3, seed=seed)), Network.of(W), training(len(W), seed))
    half = after(NoLoCo(momentum=mu, outer_rate=eta), *arguments, count=6)
    full = after(NoLoCo(momentum=mu, outer_rate=eta, pull=eta), *arguments, count=6)
    same(half.rows, full.rows)


def test_noloco_is_the_example_of_the_documentation():
    """Written by somebody else, before this one."""
    spec = importlib.util.spec_from_file_location("noloco_example", EXAMPLES / "noloco.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    W = random_doubly_stochastic(7, 3)
    arguments = (start_at(normal(7, 3)), Network.of(W), training(7, 2))
    one = after(NoLoCo(momentum=0.4, outer_rate=0.6, pull=0.3), *arguments, count=8)
    other = after(example.NoLoCo(momentum=0.4, outer_rate=0.6, pull=0.3), *arguments, count=8)
    same(one.rows, other.rows)


@few
@given(weights, momenta, rates, st.floats(0.05, 1), seeds, steps)
def test_gasloc_follows_the_paper(W, gamma, eta, alpha, seed, H):
    local, n = training(len(W), seed, H), len(W)
    x = normal(n, 3, seed=seed)
    earlier, state = x, start_at(x)
    laplacian = torch.eye(n, dtype=torch.float64) - W
    algorithm = GASLoC(momentum=gamma, outer_rate=eta, consensus_step_size=alpha)
    for now, (sent,) in rounds(algorithm, state, Network.of(W), local, count=5):
        y = x + eta * (trained(local, state, x).rows - x)
        x = y - alpha * laplacian @ y + gamma * (y - earlier)
        same(now.rows, x)
        same(sent.rows, y)
        earlier, state = y, now


@few
@given(st.integers(2, 9), momenta, rates, seeds, steps)
def test_gasloc_on_the_complete_graph_is_diloco_in_the_mean(nodes, momentum, eta, seed, H):
    """Nodes have different optima and the same curvature, so that gradients are linear."""
    local = quadratics(nodes, seed=seed, learning_rate=0.1, momentum=0.3, local_steps=H)
    arguments = (start_at(normal(1, 3).expand(nodes, -1)), Network.of(mean_matrix(nodes)), local)
    one = rounds(GASLoC(momentum=momentum, outer_rate=eta), *arguments, count=8)
    other = rounds(DiLoCo(momentum=momentum, outer_rate=eta), *arguments, count=8)
    for (gossip, _), (reduced, _) in zip(one, other, strict=True):
        same(gossip.rows.mean(0), reduced.rows.mean(0))


@few
@given(weights, momenta, rates, seeds)
def test_the_mean_of_gasloc_follows_dilocos_recursion_over_any_matrix(W, gamma, eta, seed):
    local, x = training(len(W), seed), normal(len(W), 3, seed=seed)
    state, mean, momentum = start_at(x), x.mean(0), torch.zeros(3, dtype=torch.float64)
    for now, _ in rounds(GASLoC(momentum=gamma, outer_rate=eta), state, Network.of(W), local, count=6):
        delta = (state.rows - trained(local, state, state.rows).rows).mean(0)
        momentum = gamma * momentum + delta
        mean = mean - eta * (delta + gamma * momentum)
        same(now.rows.mean(0), mean)
        state = now


@few
@given(weights, seeds, steps)
def test_without_momentum_all_are_d_psgd(W, seed, H):
    arguments = (start_at(normal(len(W), 3, seed=seed)), Network.of(W), training(len(W), seed, H))
    expected = after(DPSGD(), *arguments, count=5).rows
    for algorithm in (DiLoCo, NoLoCo, GASLoC):
        same(after(algorithm(momentum=0.0, outer_rate=1.0), *arguments, count=5).rows, expected)


@few
@given(weights, st.floats(0.05, 1), seeds)
def test_gasloc_without_momentum_is_d_psgd_over_a_lazier_matrix(W, alpha, seed):
    """γ = 0, η = 1, one step: adapt-then-combine with I − αΛ."""
    n = len(W)
    start, local = start_at(normal(n, 3, seed=seed)), training(n, seed, 1, momentum=0.0)
    lazy = torch.eye(n, dtype=torch.float64) - alpha * (torch.eye(n, dtype=torch.float64) - W)
    algorithm = GASLoC(momentum=0.0, outer_rate=1.0, consensus_step_size=alpha)
    expected = after(DPSGD(), start, Network.of(lazy), local, count=5).rows
    same(after(algorithm, start, Network.of(W), local, count=5).rows, expected)


@pytest.mark.parametrize(
    ("algorithm", "eta", "mu"),
    [
        (NoLoCo(outer_rate=0.7, momentum=0.5), 0.7, 0.5),
        (NoLoCo(outer_rate=0.7, momentum=0.9), 0.7, 0.9),
        (GASLoC(consensus_step_size=0.6, momentum=0.4), 0.6, 0.4),
    ],
    ids=["noloco, converging", "noloco, diverging", "gasloc"],
)
def test_disagreement_over_random_pairs_follows_the_recursion_of_its_moments(algorithm, eta, mu):
    """Of 200 runs without training, on a network of six; b = n/(2(n − 1))."""
    n, size, count, runs = 6, 20, 5, 200
    local, found = quadratics(n, size=size, kind=Still), 0.0
    for seed in range(runs):
        start = normal(n, size, seed=seed)
        start -= start.mean(0)
        generator = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(n, generator=generator) for _ in range(count)]

        def matrix(t, orders=orders):
            W = torch.eye(n, dtype=torch.float64)
            for i, j in orders[t].view(-1, 2).tolist():
                W[[i, i, j, j], [i, j, i, j]] = 0.5
            return W

        rows = after(algorithm, start_at(start), Network(matrix), local, count=count).rows
        found += float((rows - rows.mean(0)).square().sum() / start.square().sum()) / runs
    b, (V, C, M) = n / (2 * (n - 1)), (1.0, 0.0, 0.0)
    for _ in range(count):
        M = mu**2 * M - 2 * mu * eta * b * C + eta**2 * b * V
        D = mu * C - eta * b * V
        V, C = V + 2 * D + M, D + M
    assert found == pytest.approx(V, rel=0.1)


@pytest.mark.parametrize("algorithm", [DiLoCo, NoLoCo, GASLoC])
def test_what_stays_local_is_trained_and_not_stepped(algorithm):
    W, local = random_doubly_stochastic(5, 1), training(5, 1, momentum=0.0)
    start = start_at(normal(5, 3))
    parted = after(algorithm(), start, Network.of(W), local, count=3, shared_size=2)
    alone = start
    for _ in range(3):
        alone = local.update(alone)
    same(parted.rows[:, 2], alone.rows[:, 2])


@pytest.mark.parametrize(
    ("algorithm", "wrong"),
    [
        (DiLoCo, {"momentum": 1.0}),
        (DiLoCo, {"outer_rate": 0.0}),
        (NoLoCo, {"momentum": -0.1}),
        (NoLoCo, {"pull": -1.0}),
        (GASLoC, {"consensus_step_size": 1.5}),
        (GASLoC, {"momentum": 1.0}),
    ],
)
def test_parameters_out_of_range_are_refused(algorithm, wrong):
    with pytest.raises(SettingError, match=f"{algorithm.name}: {next(iter(wrong))} is out of range"):
        algorithm(**wrong)


class Paced(Quadratics):
    """Nodes that do 1, 2, 3 … steps in a round."""

    def update(self, nodes, steps=None):
        return super().update(nodes, torch.arange(len(nodes)) + 1 if steps is None else steps)


@few
@given(weights, momenta, rates, seeds)
def test_nodes_count_as_much_as_they_have_trained(W, momentum, rate, seed):
    """Σ w s θ / Σ w s in place of Σ w θ, for both; P + 1 numbers are sent."""
    n = len(W)
    local = training(n, seed, kind=Paced)
    start, steps = start_at(normal(n, 3, seed=seed)), torch.arange(1.0, n + 1, dtype=torch.float64)
    by_steps = W * steps / (W @ steps)[:, None]
    for kind in (DiLoCo, NoLoCo):
        plain, weighted = (
            kind(momentum=momentum, outer_rate=rate, weighting=each) for each in ("nodes", "steps")
        )
        same(
            after(weighted, start, Network.of(W), local, count=3).rows,
            after(plain, start, Network.of(by_steps), local, count=3).rows,
        )
        _, (sent,) = next(iter(rounds(weighted, start, Network.of(W), local, count=1)))
        assert sent.rows.shape == (n, 4)


def test_weights_of_steps_and_a_rate_of_their_own_contradict():
    with pytest.raises(SettingError, match="pull would be without effect"):
        NoLoCo(weighting="steps", pull=0.5)
