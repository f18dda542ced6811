"""Streaming DiLoCo and DeMo: the updates of the papers, and what they reduce to."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dctn, idctn

from gossipfl.algorithms import Mixed, RoundContext, run_round
from gossipfl.algorithms.rounds.demo import MOMENTUM, DeMo, cosines, uncosines
from gossipfl.algorithms.rounds.diloco import DiLoCo
from gossipfl.algorithms.rounds.error_feedback import LEFT
from gossipfl.algorithms.rounds.noloco import NoLoCo
from gossipfl.algorithms.rounds.streaming import SLOW, Streaming
from gossipfl.codecs import codec
from gossipfl.errors import SettingError
from tests.gossipfl.algorithms.rounds_by_hand import (
    Network,
    Still,
    after,
    few,
    mean_matrix,
    quadratics,
    random_doubly_stochastic,
    rounds,
    start_at,
)

weights = st.builds(random_doubly_stochastic, st.integers(2, 9), st.integers(0, 1000))
momenta, rates, seeds = st.floats(0, 0.95), st.floats(0.1, 1.5), st.integers(0, 99)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def training(nodes, seed, size=3, local_steps=3, **others):
    about = {"learning_rate": 0.1, "momentum": 0.3, **others}
    return quadratics(nodes, seed=seed, size=size, curved=True, largest=4, local_steps=local_steps, **about)


def alike(nodes, seed):
    return start_at(normal(1, 3, seed=seed).expand(nodes, -1))


def same(now, expected):
    assert torch.allclose(now, expected, rtol=1e-9, atol=1e-9)


@few
@given(
    st.integers(5, 12),
    st.integers(1, 5),
    st.integers(0, 3),
    st.floats(0, 0.9),
    momenta,
    rates,
    st.booleans(),
    seeds,
    st.booleans(),
)
def test_streaming_follows_the_paper(size, fragments, overlap, alpha, beta, eta, nesterov, seed, everybody):
    """Fragment by fragment, with the steps between written out; no number belongs to two fragments."""
    n = 4
    local, theta = training(n, seed, size), normal(1, size, seed=seed).expand(n, -1)
    algorithm = Streaming(
        fragments=fragments,
        overlap=overlap,
        mixing=alpha,
        momentum=beta,
        outer_rate=eta,
        nesterov=nesterov,
        average="all-reduce" if everybody else "neighbours",
    )
    each = -(-size // fragments)
    phi, m = theta[0].clone(), torch.zeros(size, dtype=torch.float64)
    state = start_at(theta)
    steps = torch.full((n,), overlap)
    for t, (now, (sent,)) in enumerate(rounds(algorithm, state, Network.of(mean_matrix(n)), local, count=6)):
        places = np.array_split(np.arange(size), fragments)[t % fragments]
        part = slice(int(places[0]), int(places[-1]) + 1)
        delta = (phi[part] - state.rows[:, part]).mean(0)
        assert sent.rows.shape == (n, each)
        moving = local.update(state, steps)
        m[part] = beta * m[part] + delta
        phi[part] -= eta * (delta + beta * m[part] if nesterov else m[part])
        rows = moving.rows.clone()
        rows[:, part] = alpha * rows[:, part] + (1 - alpha) * phi[part]
        state = local.update(type(now)(**{**fields(moving), "rows": rows}), 3 - steps)
        same(now.rows, state.rows)
        same(now.auxiliary[SLOW], phi.expand(n, -1))
        state = now


@few
@given(st.integers(5, 12), st.integers(1, 5), st.integers(0, 3), st.booleans(), st.floats(0, 0.5), seeds)
def test_with_feedback_all_that_was_learned_is_sent_or_kept(size, fragments, overlap, everybody, pull, seed):
    """Of each number, all q and what is left are the sum of all Δ, whatever the codec loses."""
    n, rough = 4, codec("fp4:3")
    local, algorithm = (
        training(n, seed, size),
        Streaming(
            fragments=fragments,
            overlap=overlap,
            codec=rough,
            feedback=1.0,
            pull=pull,
            average="all-reduce" if everybody else "neighbours",
        ),
    )
    W = mean_matrix(n) if everybody else random_doubly_stochastic(n, seed)
    state = algorithm.start(start_at(normal(1, size, seed=seed).expand(n, -1)), shared_size=size)
    learned, sent = torch.zeros(n, size, dtype=torch.float64), torch.zeros(n, size, dtype=torch.float64)
    for t in range(3 * fragments):
        places = np.array_split(np.arange(size), fragments)[t % fragments]
        part, width = slice(int(places[0]), int(places[-1]) + 1), -(-size // fragments)
        within = slice(part.start - min(part.start, size - width), None)
        learned[:, part] += (state.auxiliary[SLOW] - state.rows)[:, part]

        def carried(exchange, part=part, within=within):
            rows = exchange.rows
            if exchange.compressor is rough:
                rows = rough.compress(rows, keys=torch.arange(n))
                sent[:, part] += rows[:, within][:, : part.stop - part.start]
            return Mixed(rows=torch.as_tensor(W, dtype=torch.float64) @ rows, sent=rows)

        context = RoundContext(local=local, shared_size=size, round=t, numbers=torch.arange(n))
        state = run_round(algorithm, state, context, carried)
        same(sent + state.auxiliary[LEFT], learned)
    assert width == 1 or (state.auxiliary[LEFT] != 0).any()  # of one number nothing is lost


def fields(nodes):
    return {name: getattr(nodes, name) for name in ("rows", "ages", "steps", "optimiser_state", "auxiliary")}


@few
@given(weights, momenta, rates, seeds)
def test_one_fragment_without_overlap_is_diloco_a_round_later(W, beta, eta, seed):
    local, start = training(len(W), seed), alike(len(W), seed)
    streaming = Streaming(fragments=1, overlap=0, mixing=0.0, momentum=beta, outer_rate=eta, pull=1.0)
    now = after(streaming, start, Network.of(W), local, count=5)
    before = after(DiLoCo(momentum=beta, outer_rate=eta), start, Network.of(W), local, count=4)
    same(now.auxiliary[SLOW], before.rows)


@few
@given(weights, momenta, rates, seeds)
def test_with_plain_momentum_it_is_noloco_a_round_later(W, mu, eta, seed):
    local, start = training(len(W), seed), alike(len(W), seed)
    streaming = Streaming(
        fragments=1, overlap=0, mixing=0.0, momentum=mu, outer_rate=eta, pull=1.0, nesterov=False
    )
    now = after(streaming, start, Network.of(W), local, count=5)
    before = after(NoLoCo(momentum=mu, outer_rate=eta), start, Network.of(W), local, count=4)
    same(now.auxiliary[SLOW], before.rows)


def test_slow_weights_that_differ_come_together_in_fragments():
    n, local = 5, training(5, 1, 7)
    algorithm = Streaming(fragments=3, overlap=2, momentum=0.5, nesterov=False, pull=1.0)
    now = after(algorithm, start_at(normal(n, 7)), Network.of(mean_matrix(n)), local, count=200)
    assert float((now.auxiliary[SLOW] - now.auxiliary[SLOW].mean(0)).norm()) < 1e-6


@pytest.mark.parametrize("fragments", [1, 3, 7])
def test_every_number_has_one_turn_in_as_many_rounds_as_there_are_fragments(fragments):
    local = quadratics(2, size=7, kind=Still)
    algorithm = Streaming(fragments=fragments, overlap=0, mixing=0.0, momentum=0.0, outer_rate=1.0, pull=1.0)
    start = start_at(normal(2, 7))
    turns = torch.zeros(7)
    before = start.auxiliary.get(SLOW, start.rows)
    for now, _ in rounds(algorithm, start, Network.of(1 - torch.eye(2).double()), local, count=fragments):
        turns += (now.auxiliary[SLOW] != before)[0]
        before = now.auxiliary[SLOW]
    assert turns.tolist() == [1.0] * 7


def test_more_fragments_than_numbers_are_refused():
    with pytest.raises(SettingError, match=r"so many fragments.*at most 3.*got 4"):
        Streaming(fragments=4).start(start_at(normal(2, 3)), shared_size=3)


def test_a_fragment_in_four_bits_is_a_thirtieth_of_a_model():
    """P/4 numbers at 4 bits and a norm for each 128: what a simulation counts."""
    coded = codec("qsgd:7:128")
    assert coded.payload_bytes(4096 // 4) == 4096 // 4 // 2 + 4 * 8
    assert 4 * 4096 / coded.payload_bytes(1024) == pytest.approx(30.1, abs=0.05)


@few
@given(st.integers(1, 2), st.integers(1, 64), st.floats(0, 0.999), st.floats(0.01, 0.3), seeds)
def test_demo_follows_the_paper(blocks, count, beta, lr, seed):
    """With scipy's cosine transforms, and the largest of each block by sorting."""
    n, size = 3, 4096 * blocks - 50
    local = training(n, seed, size, local_steps=1, learning_rate=lr, momentum=0.0)
    theta = normal(1, size, seed=seed).expand(n, -1).numpy().copy()
    delta = np.zeros((n, size))
    algorithm, state = DeMo(decay=beta, count=count), start_at(torch.from_numpy(theta))
    for now, (sent,) in rounds(algorithm, state, Network.of(mean_matrix(n)), local, count=2):
        _, gradients = local.gradient(state)
        delta = beta * delta + lr * gradients.numpy()
        padded = np.pad(delta, ((0, 0), (0, 4096 * blocks - size))).reshape(n, blocks, 64, 64)
        spectra = dctn(padded, axes=(2, 3), norm="ortho").reshape(n, blocks, 4096)
        order = np.argsort(-np.abs(spectra), axis=2)[..., count:]
        np.put_along_axis(spectra, order, 0.0, axis=2)
        back = idctn(spectra.reshape(n, blocks, 64, 64), axes=(2, 3), norm="ortho").reshape(n, -1)[:, :size]
        delta = delta - back
        total = back.mean(0)
        clear = np.abs(total) > 1e-9
        theta = theta - lr * np.sign(total)
        assert (sent.rows != 0).sum(1).tolist() == [count * blocks] * n
        assert np.allclose(now.rows.numpy()[:, clear], theta[:, clear], atol=1e-9)
        assert np.allclose(now.auxiliary[MOMENTUM].numpy(), delta, atol=1e-9)
        theta, state = now.rows.numpy(), now


@few
@given(st.integers(1, 2), st.sampled_from([1.0, 1e19, 1e30, 3e38]), seeds)
def test_no_number_moves_further_than_a_step_whatever_neighbours_send(blocks, largest, seed):
    """Transforms of the largest numbers overflowed: a frame a round kept all others from learning."""
    size, lr = 4096 * blocks - 7, 0.1
    local = quadratics(1, size=size, kind=Still, local_steps=1, learning_rate=lr, momentum=0.0)
    state = start_at(normal(1, size, seed=seed).float())
    algorithm = DeMo(count=4096)
    nodes = algorithm.start(state, shared_size=size)
    context = RoundContext(local=local, shared_size=size, round=0, numbers=torch.zeros(1, dtype=torch.int64))
    signs = torch.ones(1, 4096 * blocks)  # of which all terms of a transform's first number add up
    signs[:, 1::2] = 2 * torch.rand(1, 2048 * blocks, generator=torch.Generator().manual_seed(seed)) - 1
    sent = largest * signs

    def answered(exchange):
        return Mixed(rows=0.5 * exchange.rows + 0.5 * sent, sent=exchange.rows)

    moved = run_round(algorithm, nodes, context, answered).rows - nodes.rows
    assert moved.abs().max() <= lr * 1.0001
    expected = -lr * uncosines(sent.double(), size).sign()
    assert ((moved - expected).abs() < 1e-3).double().mean() > 0.99


def test_cosines_lose_nothing():
    rows = normal(2, 5000)
    assert cosines(rows).shape == (2, 8192)
    same(uncosines(cosines(rows), 5000), rows)
    same(cosines(rows).square().sum(1), rows.square().sum(1))
