"""Transformations of outgoing rows: what each does, what it claims, and that a row is alone as among others."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gossipfl.codecs import QSGD, TopK, exchange_keys
from gossipfl.codecs.draws import common_key, normals
from gossipfl.outgoing import (
    IN_FULL,
    Clip,
    Draws,
    GaussianNoise,
    Pipeline,
    SharedMask,
    restored,
    secret_normals,
)

few = settings(max_examples=30, deadline=None)
shapes = st.tuples(st.integers(1, 40), st.integers(1, 90))
dtypes = st.sampled_from([torch.float32, torch.float64])

PIPELINES = [
    Pipeline(transformations=(Clip(1.5),)),
    Pipeline(transformations=(GaussianNoise(0.3),)),
    Pipeline(transformations=(SharedMask(0.2),)),
    Pipeline(transformations=(SharedMask(0.5), Clip(1.0), GaussianNoise(0.1), GaussianNoise(0.1))),
    Pipeline(transformations=(Clip(2.0), GaussianNoise(0.1)), codec=QSGD(levels=8)),
    Pipeline(transformations=(GaussianNoise(0.1), SharedMask(0.3)), codec=TopK(0.2)),
]
names = [" then ".join(each.names) for each in PIPELINES]


def rows_of(shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def draws_of(numbers, *, seed=3, position=(5, 1)):
    place = {"seed": seed, "round_number": position[0], "exchange": position[1]}
    return Draws(keys=exchange_keys(torch.as_tensor(numbers), **place), common=common_key(**place))


@few
@given(shapes, st.floats(0.01, 30), dtypes)
def test_clipping_shortens_what_is_longer_and_leaves_the_rest(shape, norm, dtype):
    rows = rows_of(shape, dtype)
    clipped = Clip(norm).apply(rows, draws_of(range(shape[0])))
    for before, after in zip(rows.double().numpy(), clipped.double().numpy(), strict=True):
        length = np.linalg.norm(before)
        if length <= norm:
            assert (after == before).all()
        else:
            assert after == pytest.approx(before * norm / length, rel=1e-6)
            assert np.linalg.norm(after) == pytest.approx(norm, rel=1e-6)


def test_a_row_of_zeros_is_not_divided_by_its_norm():
    assert not Clip(1.0).apply(torch.zeros(2, 5), draws_of([0, 1])).any()


def test_noise_is_normal_independent_and_another_one_everywhere():
    noise = GaussianNoise(2.0).apply(torch.zeros(200, 501, dtype=torch.float64), draws_of(range(200)))
    assert stats.kstest(noise.flatten().numpy() / 2, "norm").pvalue > 1e-3
    assert float(noise.mean()) == pytest.approx(0, abs=5 * 2 / math.sqrt(noise.numel()))
    correlations = np.corrcoef(noise.numpy())[np.triu_indices(200, 1)]
    assert np.abs(correlations).max() < 6 / math.sqrt(501)
    across = np.corrcoef(noise.numpy().T)[
        np.triu_indices(501, 1)
    ]  # the two that Box and Muller make of a pair too
    assert np.abs(across).max() < 6 / math.sqrt(200)


def test_what_is_drawn_is_a_function_of_seed_node_round_and_exchange():
    rows = torch.zeros(1, 8)
    noise = GaussianNoise(1.0)
    first = noise.apply(rows, draws_of([4]))
    assert noise.apply(rows, draws_of([4])).equal(first)
    others = [
        draws_of([5]),
        draws_of([4], seed=4),
        draws_of([4], position=(6, 1)),
        draws_of([4], position=(5, 0)),
    ]
    assert not any(noise.apply(rows, each).equal(first) for each in others)


def test_two_tables_of_noise_add_up_independently():
    twice = Pipeline(transformations=(GaussianNoise(1.0), GaussianNoise(1.0)))
    noise = twice.transform(torch.zeros(100, 400, dtype=torch.float64), draws_of(range(100)))
    assert float(noise.std()) == pytest.approx(math.sqrt(2), rel=0.02)


def test_secret_noise_is_normal_and_each_row_and_secret_has_its_own():
    keys = torch.tensor([-7, 0, 2**62])
    drawn = secret_normals(bytes(range(32)))(keys, 20_001)
    assert drawn.shape == (3, 20_001)
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(drawn.numpy()) - np.eye(3)).max() < 0.04
    assert secret_normals(bytes(range(32)))(keys[1:2], 20_001).equal(drawn[1:2])
    assert not secret_normals(bytes(32))(keys, 20_001).equal(drawn)
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        secret_normals(bytes(31))


@few
@given(st.integers(1, 300), st.floats(0.001, 1), st.integers(0, 50))
def test_all_nodes_of_an_exchange_send_the_same_numbers(size, share, number):
    mask = SharedMask(share)
    columns = mask.columns(size, draws_of([number]))
    assert columns.equal(mask.columns(size, draws_of([1000, 7])))
    assert len(columns) == mask.width(size) == min(size, max(1, round(share * size)))
    assert columns.equal(columns.unique())
    rows = rows_of((3, size))
    assert mask.apply(rows, draws_of([1, 2, 3])).equal(rows[:, columns])


def test_masks_change_from_exchange_to_exchange_and_cover_all_numbers_alike():
    mask, counts, rounds = SharedMask(0.1), torch.zeros(200), 2000
    for number in range(rounds):
        counts[mask.columns(200, draws_of([0], position=(number, 0)))] += 1
    assert counts.sum() == rounds * 20
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("pipeline", PIPELINES, ids=names)
@pytest.mark.parametrize("size", [1, 7, 300])
def test_a_row_comes_out_alone_as_among_others(pipeline, size):
    rows, draws = rows_of((50, size)), draws_of(range(50))
    among = pipeline.decoded(rows, draws)
    assert among.shape == (50, pipeline.width(size))
    for number in (0, 13, 49):
        alone = draws_of([number])
        assert pipeline.decoded(rows[number : number + 1], alone).equal(among[number : number + 1])
        written = pipeline.transform(rows[number : number + 1], alone)
        if pipeline.codec is not None:
            payload = pipeline.codec.encode(written[0], key=int(alone.keys[0]))
            assert sum(tensor.header.nbytes for tensor in payload) == pipeline.payload_bytes(size)
            written = pipeline.codec.decode(payload, pipeline.width(size))[None]
        assert written.equal(among[number : number + 1])


@pytest.mark.parametrize("pipeline", PIPELINES, ids=names)
def test_what_is_claimed_of_the_mean_and_the_error_holds(pipeline):
    """By 4,000 draws: E T(x) = x where it is claimed, and E‖T(x) − x‖² within the bound, part by part."""
    whole, many = 2 * rows_of((1, 12), torch.float64), 4000
    effects = pipeline.effects(12)
    assert [name for name, _ in effects] == list(pipeline.names)
    row = whole
    for each, (_, effect) in zip(pipeline.transformations, effects, strict=False):
        if isinstance(each, SharedMask):
            row = row[:, : each.width(row.shape[1])]
            continue
        outcome = each.apply(row.expand(many, -1).contiguous(), draws_of(range(many)))
        errors = (outcome - row).square().sum(1)
        bound = effect.relative * float(row.square().sum()) + effect.absolute
        assert float(errors.mean()) <= bound * 1.05
        off = float((outcome.mean(0) - row[0]).norm())
        if effect.unbiased:
            assert off <= 5 * math.sqrt(float(errors.mean()) / many)
        else:
            assert off > 5 * math.sqrt(1e-9 / many)
    if pipeline.codec is not None:
        assert effects[-1][1].unbiased == pipeline.codec.unbiased


def test_in_full_nothing_is_done():
    rows = rows_of((4, 6), torch.float64)
    assert IN_FULL.decoded(rows, draws_of(range(4))) is rows
    assert IN_FULL.is_lossless
    assert IN_FULL.payload_bytes(6) == 24
    assert not any(each.is_lossless for each in PIPELINES)


@few
@given(st.integers(1, 40), st.floats(0.01, 1))
def test_what_is_not_sent_stays_the_receivers_own(size, share):
    mask = SharedMask(share)
    own, arrived = rows_of((3, size)), rows_of((3, size), seed=1)
    columns = mask.columns(size, draws_of([0]))
    whole = restored(own, arrived[:, columns], columns)
    sent = torch.zeros(size, dtype=torch.bool).index_fill_(0, columns, value=True)
    assert whole[:, sent].equal(arrived[:, sent])
    assert whole[:, ~sent].equal(own[:, ~sent])
    assert restored(own, arrived, None) is arrived


def test_normals_of_odd_and_empty_counts():
    keys = torch.tensor([1, 2])
    assert normals(keys, 0).shape == (2, 0)
    assert normals(keys, 3).shape == (2, 3)
    assert torch.isfinite(normals(torch.arange(1000), 101)).all()
