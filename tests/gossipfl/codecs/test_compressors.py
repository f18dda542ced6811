"""Promises of every compressor."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.codecs import FLOAT32, QSGD, Int8, RandomK, ScaledSign, TopK, codec, model_codec
from gossipfl.errors import NonFiniteUpdate, SettingError, UnexpectedTensor, UnknownCodec
from tests.gossipfl.codecs.made import NAMES, hard_rows, received, rows

each_codec = pytest.mark.parametrize("name", NAMES)
keys_of = st.integers(-(2**63), 2**63 - 1)


def bits(tensor):
    return tensor.contiguous().view(torch.int32)


@each_codec
@given(row=rows(), key=keys_of, others=st.integers(0, 3))
@settings(max_examples=15)
def test_receivers_decode_what_the_simulation_computed_bit_for_bit(name, row, key, others):
    """Alone or among others, in any place: one row must compress to the same bits."""
    size = len(row)
    each = codec(name)
    batch = torch.randn(others + 1, size)
    batch[others] = row
    keys = torch.arange(others + 1) * 7919
    keys[others] = key
    decoded = each.decode(received(each.encode(row, key=key)), size)
    assert decoded.dtype == torch.float32
    assert bits(each.compress(batch, keys=keys)[others]).equal(bits(decoded))


@each_codec
def test_a_large_row_too_and_whatever_the_number_of_threads(name):
    each, batch, keys = codec(name), torch.randn(3, 300_001), torch.tensor([5, -6, 7])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        compressed = each.compress(batch, keys=keys)
    finally:
        torch.set_num_threads(before)
    decoded = each.decode(received(each.encode(batch[1], key=-6)), batch.shape[1])
    assert bits(compressed[1]).equal(bits(decoded))


@each_codec
def test_so_many_rows_that_they_are_compressed_in_parts(name):
    """One more than fit three times; each must be as it is alone."""
    each, batch, keys = codec(name), torch.randn(3 * 2**18 // 5000 + 1, 5000), torch.arange(158) * 31
    compressed = each.compress(batch, keys=keys)
    for place in (0, 51, 52, 53, 103, 104, 157):
        alone = each.compress(batch[place : place + 1], keys=keys[place : place + 1])
        assert bits(compressed[place]).equal(bits(alone[0]))


@each_codec
@pytest.mark.parametrize("size", [0, 1, 9, 64, 1000, 4097])
def test_bytes_are_as_stated_and_admitted_by_the_reader(name, size):
    each = codec(name)
    payload = each.encode(torch.randn(size), key=3)
    specs = each.expected(size)
    assert all(spec.admits(tensor.header) for spec, tensor in zip(specs, payload, strict=True))
    assert sum(tensor.data.nbytes for tensor in payload) == each.payload_bytes(size)
    assert sum(spec.most_bytes for spec in specs) == each.payload_bytes(size)


def test_bytes_by_hand():
    """2000 numbers: 20 indices of 11 bits; 513 symbols in 10 bits; a bit and a scale."""
    assert codec("top:0.01").payload_bytes(2000) == 20 * 4 + math.ceil(20 * 11 / 8)
    assert codec("top:0.5").payload_bytes(2000) == 1000 * 4 + 250
    assert codec("random:0.01").payload_bytes(2000) == 20 * 4 + 8
    assert codec("random:2").payload_bytes(2000) == 2 * 4 + 3
    assert codec("qsgd:256").payload_bytes(2000) == 4 + 2000 * 10 / 8
    assert codec("qsgd:127:128").payload_bytes(2000) == 16 * 4 + 2000
    assert codec("sign").payload_bytes(2000) == 4 + 250
    assert codec("int8").payload_bytes(2000) == 8 * 4 + 2000


@each_codec
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [2, 513])
def test_contraction_is_as_declared(name, dtype, size):
    """E‖Q(x) − x‖² ≤ (1 − δ)‖x‖², the mean over many keys with five standard errors of grace."""
    each = codec(name)
    delta = each.contraction(size)
    if delta is None:
        pytest.skip("declares none")
    assert 0 < delta <= 1
    draws = 200
    for what, row in hard_rows(size, dtype=dtype).items():
        norm = float(row.double().square().sum())
        compressed = each.compress(row.expand(draws, -1), keys=torch.arange(draws))
        assert compressed.dtype == dtype
        errors = (compressed.double() - row.double()).square().sum(dim=1)
        grace = 5 * float(errors.std()) / math.sqrt(draws)
        assert float(errors.mean()) <= (1 - delta + 1e-6) * norm + grace, what


@each_codec
def test_contraction_of_any_row(name):
    each = codec(name)

    @given(row=rows(st.floats(-1e6, 1e6, width=32), most=40), key=keys_of)
    @settings(max_examples=25)
    def holds(row, key):
        delta = each.contraction(len(row))
        if delta is None:
            return
        error = (each.decode(each.encode(row, key=key), len(row)).double() - row.double()).square().sum()
        underflow = len(row) * 1e-60
        assert float(error) <= (1 - delta + 1e-6) * float(row.double().square().sum()) + underflow

    if not (each.unbiased or name.startswith(("qsgd", "random"))):  # of those it holds in expectation only
        holds()


@pytest.mark.parametrize("name", [each for each in NAMES if codec(each).unbiased])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_unbiased_ones_are(name, dtype):
    """The mean of many, each number within six standard errors of the truth; ten events may be missed."""
    each, draws = codec(name), 4000
    for what, row in hard_rows(40, dtype=dtype).items():
        compressed = each.compress(row.expand(draws, -1), keys=torch.arange(draws)).double()
        errors = compressed.std(dim=0) / math.sqrt(draws)
        norm = float(row.double().norm())
        grace = norm * (1e-6 + 10 / (getattr(each, "levels", math.inf) * draws))
        assert bool(((compressed.mean(dim=0) - row).abs() <= 6 * errors + grace).all()), what


def test_qsgd_rounds_up_exactly_as_often_as_its_fraction():
    """Over a full grid of draws the mean of the levels is exact."""
    row = torch.tensor([[3.0, -4.0, 0.5, 0.0, 12.0]])
    norm = float(row.norm())
    levels, seen = QSGD(levels=4), torch.zeros(5)
    grid = 20_000
    compressed = levels.compress(row.expand(grid, -1), keys=torch.arange(grid))
    multiples = compressed * 4 / norm
    assert torch.allclose(multiples, multiples.round(), atol=1e-4)
    ratios = row[0].abs() * 4 / norm
    for i in range(5):
        seen[i] = (multiples[:, i].abs().round() > ratios[i].floor()).float().mean()
    assert seen.tolist() == pytest.approx((ratios - ratios.floor()).tolist(), abs=0.015)
    assert bool((compressed[:, 3] == 0).all())
    assert bool((torch.sign(multiples) * torch.sign(row) >= 0).all())


def test_random_k_draws_every_choice_alike():
    """All pairs of five, each a tenth of the time: chi-squared below its 99.99 % quantile."""
    keys = torch.arange(10_000)
    kept = RandomK(2).compress(torch.ones(10_000, 5), keys=keys) != 0
    assert bool((kept.sum(dim=1) == 2).all())
    pairs = (kept.to(torch.int64) << torch.arange(5)).sum(dim=1).bincount(minlength=32)
    counts = pairs[pairs > 0].double()
    assert len(counts) == 10
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 33.7


def test_scaled_random_k_is_exactly_unbiased_over_all_choices():
    """Averaging one representative of each of the ten pairs of five gives the row itself."""
    row = torch.tensor([1.0, -2.0, 3.0, 5.0, -8.0])
    compressed = RandomK(2, scaled=True).compress(row.expand(500, -1), keys=torch.arange(500))
    choices = {tuple((each != 0).tolist()): each for each in compressed}
    assert len(choices) == 10
    assert torch.stack(list(choices.values())).mean(dim=0).tolist() == pytest.approx(row.tolist())


@given(row=rows(st.sampled_from([0.0, 1.0, -1.0, 2.0, -2.0])), count=st.integers(1, 60))
def test_top_k_takes_the_largest_and_of_equal_ones_the_first(row, count):
    order = sorted(range(len(row)), key=lambda i: (-abs(float(row[i])), i))[:count]
    expected = torch.zeros_like(row)
    expected[order] = row[order]
    each = TopK(count)
    assert each.compress(row[None], keys=torch.zeros(1, dtype=torch.int64))[0].equal(expected)
    assert each.decode(each.encode(row), len(row)).equal(expected)


def test_sign_leaves_what_its_definition_says():
    row = torch.randn(1000)
    left = float((ScaledSign().compress(row[None], keys=torch.zeros(1)) - row).square().sum())
    norm = float(row.square().sum())
    assert left == pytest.approx(norm - float(row.abs().sum()) ** 2 / 1000, rel=1e-5)


def test_eight_bits_move_no_number_by_more_than_half_a_step():
    row = torch.randn(1000) * torch.logspace(-3, 3, 1000)
    moved = (Int8(bucket=50).compress(row[None], keys=torch.zeros(1))[0] - row).abs().reshape(20, 50)
    assert bool((moved <= row.abs().reshape(20, 50).amax(dim=1, keepdim=True) / 253.9).all())


@each_codec
def test_float64_is_compressed_in_float64(name):
    """But for those that round to a dtype: what a float32 row loses beyond the compressor is not lost."""
    row, keys = torch.randn(1, 300, dtype=torch.float64), torch.tensor([9])
    double = codec(name).compress(row, keys=keys)
    single = codec(name).compress(row.float(), keys=keys)
    assert double.dtype == torch.float64
    if codec(name).unbiased and name.startswith("qsgd"):
        return  # a number on the edge may fall on the other side
    assert torch.allclose(double, single.double(), rtol=1e-5, atol=1e-6)


@each_codec
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_row_that_diverged_is_not_sent_and_stays_visible_in_a_simulation(name, bad):
    row = torch.randn(99)
    row[50] = bad
    with pytest.raises(NonFiniteUpdate, match="learning rate"):
        codec(name).encode(row)
    if not name.startswith("random"):  # those may leave it out
        assert not torch.isfinite(
            codec(name).compress(row[None], keys=torch.zeros(1, dtype=torch.int64))
        ).all()


def test_a_row_whose_norm_is_beyond_float32_is_named_with_its_remedy():
    with pytest.raises(NonFiniteUpdate, match=r"does not fit into qsgd:16.*float32"):
        codec("qsgd:16").encode(torch.full((1000,), 3e38))
    assert codec("sign").encode(torch.full((1000,), 3e38))
    assert codec("int8").encode(torch.full((1000,), 3e38))


@each_codec
@pytest.mark.parametrize("row", [torch.zeros(2, 2), torch.zeros(3, dtype=torch.float64)], ids=str)
def test_only_single_float32_rows_are_encoded(name, row):
    with pytest.raises(UnexpectedTensor, match="float32"):
        codec(name).encode(row)


@each_codec
def test_rows_are_not_changed(name):
    for dtype in (torch.float32, torch.float64):
        row = torch.randn(2, 100, dtype=dtype)
        before = row.clone()
        codec(name).compress(row, keys=torch.arange(2))
        assert row.equal(before)
    row = torch.randn(100, requires_grad=True)
    assert not codec(name).compress(row.detach()[None], keys=torch.arange(1)).requires_grad
    codec(name).encode(row)


@each_codec
def test_names_lead_back_to_equal_codecs(name):
    each = codec(name)
    assert codec(each.name) == each
    assert codec(each.name).name == each.name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("topp:3", "Did you mean 'top'"),
        ("top", "top:SHARE"),
        ("top:0", "fraction such as 0.01"),
        ("top:1.5", "fraction such as 0.01"),
        ("top:-1", "fraction"),
        ("top:nan", "fraction"),
        ("top:1:2", "top:SHARE"),
        ("chunk-top:3", "chunk-top:COUNT:CHUNK"),
        ("chunk-top:0.1:9", "chunk-top:COUNT:CHUNK"),
        ("chunk-top:10:9", "a count of 1 to 9"),
        ("chunk-top:1:1", "2 to 65536"),
        ("chunk-top:1:99999", "2 to 65536"),
        ("qsgd", "qsgd:LEVELS"),
        ("qsgd:0.5", "whole numbers"),
        ("qsgd:99999", "1 to 32768"),
        ("qsgd:16:0", "qsgd:LEVELS"),
        ("float32:1", "float32"),
        ("sign:x", "sign"),
        ("", "float32 or"),
        ("\x1b[2J" + "9" * 5000, "float32 or"),
        ("qsgd:" + "9" * 5000, "qsgd:LEVELS"),
    ],
)
def test_misspelt_names_are_answered_with_what_is_known(name, said):
    with pytest.raises(UnknownCodec) as caught:
        codec(name)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 500
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("wrong", [0, -1, 0.0, 1.5, float("nan"), True])
def test_shares_that_are_none_are_refused(wrong):
    for kind in (TopK, RandomK):
        with pytest.raises(SettingError, match="fraction such as"):
            kind(wrong)


def test_wrong_levels_and_buckets_are_refused():
    with pytest.raises(SettingError, match="1 to 32768"):
        QSGD(levels=0)
    with pytest.raises(SettingError, match="bucket >= 1"):
        Int8(bucket=0)


def test_whole_models_are_sent_only_by_what_keeps_them():
    assert model_codec("float16", size=650) == codec("float16")
    assert model_codec("int8", size=10**6) == Int8()
    assert model_codec("qsgd:16:128", size=10**6) == QSGD(levels=16, bucket=128)
    assert model_codec("qsgd:64", size=650) == QSGD(levels=64)
    with pytest.raises(UnknownCodec, match=r"650 numbers by more than half.*qsgd:16:128"):
        model_codec("qsgd:16", size=650)
    for name in ("top:0.01", "random:0.5", "random-scaled:0.9", "sign", "qsgd-shrunk:4"):
        with pytest.raises(UnknownCodec, match=f"{name.split(':')[0]} leaves so much.*choco"):
            model_codec(name, size=650)


def test_keys_decide_what_is_drawn():
    row = torch.randn(500)
    for each in (QSGD(levels=4), RandomK(0.1)):
        first, same, other = (each.decode(each.encode(row, key=key), 500) for key in (1, 1, 2))
        assert first.equal(same)
        assert not first.equal(other)


def test_float32_needs_no_compression():
    rows = torch.randn(3, 10)
    assert FLOAT32.compress(rows, keys=torch.zeros(3)).equal(rows)
    assert np.isclose(FLOAT32.contraction(10), 1.0)
