"""Attention by our kernel, against its definition in double precision, and against itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.kernels import attention
from gossipfl.kernels.building import has_compiler

KERNEL = attention
pytestmark = [
    pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler"),
    pytest.mark.usefixtures("both_widths"),
]


def drawn(samples, heads, queries, keys, width, out, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = (queries, width), (keys, width), (keys, out)
    return [torch.randn(samples, heads, *shape, generator=generator) for shape in shapes]


def defined(query, key, value, scale, is_causal, *, dtype=torch.float64):
    """The same as it is defined."""
    query, key, value = (each.to(dtype) for each in (query, key, value))
    scores = (query * scale) @ key.mT
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return scores.softmax(-1) @ value


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 3),
    heads=st.integers(1, 3),
    queries=st.integers(1, 40),
    keys=st.integers(1, 40),
    width=st.integers(1, 40),
    out=st.integers(1, 40),
    scale=st.floats(0, 1),
    is_causal=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_results_are_those_of_the_definition_to_rounding(
    samples, heads, queries, keys, width, out, scale, is_causal, seed
):
    made = drawn(samples, heads, queries, keys, width, out, seed=seed)
    expected = defined(*made, scale, is_causal)
    found = attention.OPERATOR(*made, scale, is_causal)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("is_causal", [False, True])
def test_errors_are_no_larger_than_torchs(is_causal):
    made = drawn(64, 4, 16, 16, 10, 10)
    expected = defined(*made, 0.3, is_causal)
    ours, torchs = (
        (found - expected).square().mean().sqrt().item()
        for found in (
            attention.OPERATOR(*made, 0.3, is_causal),
            defined(*made, 0.3, is_causal, dtype=torch.float32),
        )
    )
    assert ours < 1.1 * torchs


def test_a_heads_numbers_do_not_depend_on_the_others_nor_on_how_they_are_laid_out():
    made = drawn(3, 4, 21, 19, 13, 11)
    together = attention.OPERATOR(*made, 0.4, True)
    for sample, head in [(0, 0), (1, 3), (2, 2)]:
        alone = attention.OPERATOR(*(each[sample : sample + 1, head : head + 1] for each in made), 0.4, True)
        assert torch.equal(together[sample, head], alone[0, 0])
    for steps in (1, 16, 17):  # a causal step does not depend on the later ones
        fewer = attention.OPERATOR(*(each[:, :, :steps] for each in made), 0.4, True)
        assert torch.equal(together[:, :, :steps], fewer)
    steps_first = [each.permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3) for each in made]
    turned = [each.mT.contiguous().mT for each in made]
    for layout in (steps_first, turned):
        assert all(one.stride() != other.stride() for one, other in zip(layout, made, strict=True))
        assert torch.equal(together, attention.OPERATOR(*layout, 0.4, True))
    assert attention.OPERATOR(*steps_first, 0.4, True).permute(2, 0, 1, 3).is_contiguous()


def test_large_scores_overflow_nothing():
    query, key, value = drawn(2, 2, 16, 16, 8, 8)
    found = attention.OPERATOR(1e6 * query, key, value, 1.0, False)
    torch.testing.assert_close(found.double(), defined(1e6 * query, key, value, 1.0, False))


@pytest.mark.parametrize("special", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", range(3))
def test_what_is_no_finite_number_is_where_torch_has_it(special, place):
    made = drawn(2, 2, 9, 9, 5, 5)
    made[place][0, 1, 4, 2] = special
    found = attention.OPERATOR(*made, 0.4, False)
    expected = defined(*made, 0.4, False, dtype=torch.float32)
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("place", range(3))
def test_tensors_of_other_shapes_or_kinds_are_refused(place):
    made = drawn(2, 3, 7, 6, 5, 4)
    for changed in (made[place][:1], made[place].double()):
        given = [*made[:place], changed, *made[place + 1 :]]
        with pytest.raises(RuntimeError, match="of attention: expected"):
            attention.OPERATOR(*given, 0.4, False)


@pytest.mark.parametrize("shape", [(0, 2, 3, 4, 5, 6), (2, 2, 0, 4, 5, 6), (2, 2, 3, 4, 0, 6)])
def test_of_nothing_there_is_what_torch_has(shape):
    made = drawn(*shape)
    found = attention.OPERATOR(*made, 0.4, False)
    torch.testing.assert_close(found, defined(*made, 0.4, False, dtype=torch.float32))
