"""Ends of classifiers by our kernel, against torch's operators in double precision, and against themselves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.kernels import scores
from gossipfl.kernels.building import has_compiler

KERNEL = scores
pytestmark = [
    pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler"),
    pytest.mark.usefixtures("both_widths"),
]

IGNORED = -100


def drawn(rows, lines, width, classes, *, bias=True, seed=0):
    """Inputs, weights, a bias and targets, some of them ignored."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, lines, width, generator=generator)
    weights = torch.randn(rows, classes, width, generator=generator)
    targets = torch.randint(classes, (rows, lines), generator=generator)
    targets[torch.rand(rows, lines, generator=generator) < 0.2] = IGNORED
    return inputs, weights, torch.randn(rows, classes, generator=generator) if bias else None, targets


def exact(inputs, weights, bias, targets, *, dtype=torch.float64):
    """The same by torch's operators."""
    found = inputs.to(dtype) @ weights.to(dtype).mT
    if bias is not None:
        found = found + bias.to(dtype).unsqueeze(1)
    picked = found.log_softmax(-1).gather(2, targets.clamp(min=0).unsqueeze(2)).squeeze(2)
    return picked.masked_fill(targets == IGNORED, 0), found.argmax(dim=-1), found


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 3),
    lines=st.integers(1, 70),
    width=st.integers(1, 40),
    classes=st.integers(1, 300),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_results_are_torchs_to_rounding(rows, lines, width, classes, bias, seed):
    made = drawn(rows, lines, width, classes, bias=bias, seed=seed)
    logarithms, largest = scores.OPERATOR(*made, IGNORED)
    expected, best, all_scores = exact(*made)
    torch.testing.assert_close(logarithms.double(), expected, rtol=1e-5, atol=1e-5)
    top = all_scores.gather(2, torch.stack([largest, best], dim=2))
    assert largest.dtype == best.dtype and (top[..., 1] - top[..., 0] < 1e-5).all()


def test_a_lines_numbers_do_not_depend_on_the_others_nor_on_how_they_are_laid_out():
    made = drawn(3, 1100, 13, 250)
    together = scores.OPERATOR(*made, IGNORED)
    for row, line in [(0, 0), (1, 37), (2, 1023), (2, 1024), (2, 1099)]:
        inputs, weights, bias, targets = (each[row : row + 1] for each in made)
        alone = scores.OPERATOR(
            inputs[:, line : line + 1], weights, bias, targets[:, line : line + 1], IGNORED
        )
        for one, other in zip(together, alone, strict=True):
            assert torch.equal(one[row, line], other[0, 0])
    turned = [each.mT.contiguous().mT for each in made]
    spread = [torch.stack([each, each], dim=-1)[..., 0] for each in made]
    for layout in (turned, spread):
        assert all(one.stride() != other.stride() for one, other in zip(layout, made, strict=True))
        for one, other in zip(together, scores.OPERATOR(*layout, IGNORED), strict=True):
            assert torch.equal(one, other)
    shared = [each[:1].expand(3, *each.shape[1:]) for each in made]
    for one, other in zip(together, scores.OPERATOR(*shared, IGNORED), strict=True):
        assert torch.equal(one[:1].expand(3, -1), other)


@pytest.mark.parametrize("classes", [7, 119, 260])
def test_of_equal_scores_the_first_is_the_largest(classes):
    inputs, weights, bias, targets = drawn(2, 90, 3, classes)
    made = (*((2 * each).round() for each in (inputs, weights, bias)), targets)
    logarithms, largest = scores.OPERATOR(*made, IGNORED)
    expected, best, found = exact(*made)
    assert ((found == found.amax(dim=-1, keepdim=True)).sum(dim=-1) > 1).any()
    assert torch.equal(largest, best)
    torch.testing.assert_close(logarithms.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("special", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("places", [[3], [0, 130], [125, 240], [249], range(250)])
def test_what_is_no_finite_number_is_as_torch_has_it(special, places):
    inputs, weights, bias, targets = drawn(2, 40, 5, 250)
    inputs.abs_()
    weights[1, list(places)] = special
    targets[1, :20] = places[0]
    made = inputs, weights, bias, targets
    logarithms, largest = scores.OPERATOR(*made, IGNORED)
    expected, best, _ = exact(*made, dtype=torch.float32)
    torch.testing.assert_close(logarithms, expected, equal_nan=True)
    assert torch.equal(largest, best)


def test_large_scores_overflow_nothing():
    inputs, weights, bias, targets = drawn(1, 50, 4, 200)
    made = 1e4 * inputs, weights, bias, targets
    expected, _, _ = exact(*made)
    torch.testing.assert_close(scores.OPERATOR(*made, IGNORED)[0].double(), expected, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("wrong", [-1, 30, 1 << 40, -(1 << 40)])
def test_a_target_that_is_no_class_is_refused(wrong):
    made = drawn(2, 40, 5, 30)
    made[3][1, 39] = wrong
    with pytest.raises(IndexError, match=r"expected 0 … 29, or -100 to ignore; got .*") as error:
        scores.OPERATOR(*made, IGNORED)
    assert str(wrong) in str(error.value)
    scores.OPERATOR(*made, wrong) if IGNORED not in made[3] else None


@pytest.mark.parametrize("place", range(4))
def test_tensors_of_other_shapes_or_kinds_are_refused(place):
    made = list(drawn(2, 40, 5, 30))
    for changed in (made[place][..., :-1], made[place].double()):
        given = [*made[:place], changed, *made[place + 1 :]]
        with pytest.raises(RuntimeError, match="of scores: expected"):
            scores.OPERATOR(*given, IGNORED)


@pytest.mark.parametrize(("rows", "lines"), [(0, 4), (3, 0)])
def test_of_nothing_there_are_no_results(rows, lines):
    found = scores.OPERATOR(*drawn(rows, lines, 5, 30), IGNORED)
    assert [each.shape for each in found] == [(rows, lines)] * 2
