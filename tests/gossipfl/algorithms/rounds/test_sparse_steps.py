"""SparseLoCo and SPARTA: the updates of the papers, and what they reduce to."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import DPSGD, Mixed, RoundContext, run_round
from gossipfl.algorithms.rounds.diloco import DiLoCo
from gossipfl.algorithms.rounds.sparseloco import SparseLoCo
from gossipfl.algorithms.rounds.sparta import SPARTA
from gossipfl.codecs import FLOAT32, codec
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

weights = st.builds(random_doubly_stochastic, st.integers(2, 7), st.integers(0, 1000))
seeds = st.integers(0, 99)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(now, expected):
    assert torch.allclose(now, expected, rtol=1e-9, atol=1e-9)


def top_of_chunks(row, count, chunk):
    """Four means of the largest of each chunk, number by number."""
    chosen = []
    for start in range(0, len(row), chunk):
        places = range(start, min(start + chunk, len(row)))
        chosen += sorted(places, key=lambda i: (-abs(row[i]), i))[:count]
    typical = sum(abs(row[i]) for i in chosen) / len(chosen)
    kinds = {}
    for i in chosen:
        kinds.setdefault((abs(row[i]) > typical, row[i] >= 0), []).append(i)
    out = [0.0] * len(row)
    for members in kinds.values():
        for i in members:
            out[i] = sum(row[j] for j in members) / len(members)
    return out


@few
@given(st.integers(1, 60), st.integers(1, 9), st.integers(9, 20), seeds)
def test_the_codec_keeps_four_means_of_the_largest_of_each_chunk(size, count, chunk, seed):
    row = normal(size, seed=seed)
    made = codec(f"chunk-top:{count}:{chunk}").compress(row[None], keys=torch.tensor([0]))[0]
    assert made.tolist() == pytest.approx(top_of_chunks(row.tolist(), count, chunk), rel=1e-12)
    assert float(made.sum()) == pytest.approx(float(row[made != 0].sum()), abs=1e-9)


@pytest.mark.parametrize("chunks", [1, 5])
def test_sixty_four_of_each_4096_are_146_times_less_but_for_four_values(chunks):
    size = 4096 * chunks
    payload = codec("chunk-top:64:4096").encode(normal(size).float())
    written = sum(tensor.data.nbytes for tensor in payload)
    assert written == 16 + chunks * 64 * 14 // 8
    assert 4 * size / (written - 16) == pytest.approx(146.2857, abs=5e-5)
    assert (written - 16) / (4 * size) / 30 == pytest.approx(0.000228, abs=5e-7)  # a step, with H = 30


def carried(W, compress):
    def carry_out(exchange):
        sent = exchange.rows
        if exchange.compressor is not None:
            sent = compress(exchange.compressor, sent)
        return Mixed(rows=W @ sent, sent=sent)

    return carry_out


def compressed(compressor, rows):
    return compressor.compress(rows, keys=torch.arange(len(rows)))


@few
@given(weights, st.floats(0, 1), st.floats(0.1, 1.5), st.integers(1, 4), seeds)
def test_sparseloco_follows_the_paper(W, beta, alpha, H, seed):
    """e ← βe + Δ, Δ̂ = Q(e), e ← e − Δ̂, θ ← θ − α mean Δ̂."""
    n, size = len(W), 24
    local = quadratics(n, size=size, seed=seed, curved=True, learning_rate=0.1, local_steps=H)
    algorithm = SparseLoCo(codec=codec("chunk-top:2:10"), decay=beta, outer_rate=alpha)
    state = algorithm.start(start_at(normal(n, size, seed=seed)), shared_size=size)
    theta, e = state.rows, torch.zeros(n, size, dtype=torch.float64)
    for t in range(4):
        e = beta * e + theta - local.update(state).rows
        q = torch.tensor([top_of_chunks(row, 2, 10) for row in e.tolist()], dtype=torch.float64)
        e = e - q
        theta = theta - alpha * W @ q
        context = RoundContext(local=local, shared_size=size, round=t, numbers=torch.arange(n))
        state = run_round(algorithm, state, context, carried(W, compressed))
        same(state.rows, theta)
        same(state.auxiliary["what was not sent"], e)


@few
@given(st.integers(2, 7), st.floats(0.1, 1.5), seeds)
def test_without_compression_sparseloco_is_diloco_without_momentum(nodes, rate, seed):
    local = quadratics(nodes, seed=seed, curved=True, learning_rate=0.1, local_steps=2)
    start = start_at(normal(1, 3, seed=seed).expand(nodes, -1))
    arguments = (start, Network.of(mean_matrix(nodes)), local)
    one = after(SparseLoCo(codec=FLOAT32, outer_rate=rate), *arguments, count=5)
    same(one.rows, after(DiLoCo(momentum=0.0, outer_rate=rate), *arguments, count=5).rows)


def test_all_that_nodes_learn_is_sent_in_the_end():
    """With β = 1 the sum of what was sent and what is left is what was learned."""
    local = quadratics(4, size=40, curved=True, learning_rate=0.1)
    W, algorithm = mean_matrix(4), SparseLoCo(codec=codec("chunk-top:1:10"), decay=1.0)
    state = algorithm.start(start_at(normal(1, 40).expand(4, -1)), shared_size=40)
    learned, before = torch.zeros(40, dtype=torch.float64), state.rows.mean(0)
    for t in range(6):
        learned += (state.rows - local.update(state).rows).mean(0)
        context = RoundContext(local=local, shared_size=40, round=t, numbers=torch.arange(4))
        state = run_round(algorithm, state, context, carried(W, compressed))
    same(before - state.rows.mean(0) + state.auxiliary["what was not sent"].mean(0), learned)


def test_in_pairs_a_share_of_the_slow_weights_keeps_nodes_together():
    W, size, n = random_doubly_stochastic(6, 4), 200, 6
    local = quadratics(n, size=size, kind=Still)
    start = start_at(normal(n, size))
    spread = [
        after(SparseLoCo(codec=FLOAT32, pull=pull), start, Network.of(W), local, count=120).rows.std(0).mean()
        for pull in (0.0, 0.1)
    ]
    assert float(spread[0]) == pytest.approx(float(start.rows.std(0).mean()))
    assert float(spread[1]) < 0.2 * float(spread[0])


@few
@given(weights, st.floats(0.05, 1), seeds)
def test_sparta_steps_and_then_mixes_a_share(W, share, seed):
    n, size = len(W), 20
    local = quadratics(n, size=size, seed=seed, curved=True, learning_rate=0.1)
    X = normal(n, size, seed=seed)
    targets = torch.cat(list(local.samples_of))
    for now, (sent,) in rounds(SPARTA(share=share), start_at(X), Network.of(W), local, count=4, seed=seed):
        stepped = X - 0.1 * local.curvatures * (X - targets)
        assert abs(sent.rows.shape[1] - share * size) < 1
        mixed = (now.rows - stepped).abs().sum(0) > 1e-12
        assert int(mixed.sum()) <= sent.rows.shape[1]
        same(now.rows[:, mixed], (W @ stepped)[:, mixed])
        X = now.rows


@few
@given(weights, seeds)
def test_with_all_numbers_sparta_is_d_psgd(W, seed):
    local = quadratics(len(W), seed=seed, curved=True, learning_rate=0.1)
    arguments = (start_at(normal(len(W), 3)), Network.of(W), local)
    same(
        after(SPARTA(share=1.0), *arguments, count=5).rows,
        after(DPSGD(), *arguments, count=5).rows,
    )


def test_spartas_coverage_is_as_published():
    """After n rounds 1 − (1 − p)ⁿ of all coordinates were mixed, in expectation."""
    size, share, count = 4000, 0.005, 200
    local, network = quadratics(2, size=size, kind=Still), Network.of(mean_matrix(2))
    now = after(SPARTA(share=share), start_at(normal(2, size)), network, local, count=count)
    covered = float((now.rows[0] == now.rows[1]).double().mean())
    expected = 1 - (1 - share) ** count
    assert covered == pytest.approx(expected, abs=5 * (expected * (1 - expected) / size) ** 0.5)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: SPARTA(share=0.0), "sparta: share is out of range"),
        (lambda: SparseLoCo(decay=1.5), "sparseloco: decay is out of range"),
        (lambda: SparseLoCo(pull=-0.1), "sparseloco: pull is out of range"),
    ],
)
def test_parameters_out_of_range_are_refused(made, words):
    with pytest.raises(SettingError, match=words):
        made()
