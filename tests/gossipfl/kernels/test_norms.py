"""Layer norms by our kernel, against torch's in double precision, and against themselves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from gossipfl.kernels import norms
from gossipfl.kernels.building import has_compiler

KERNEL = norms
pytestmark = [
    pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler"),
    pytest.mark.usefixtures("both_widths"),
]


def drawn(lines, width, *, mean=0.0, seed=0):
    """Inputs, weights and a bias."""
    generator = torch.Generator().manual_seed(seed)
    inputs = mean + 3 * torch.randn(lines, width, generator=generator)
    return inputs, *(torch.randn(width, generator=generator) for _ in range(2))


def exact(inputs, weights, bias, epsilon=1e-5, *, dtype=torch.float64):
    given = [None if each is None else each.to(dtype) for each in (inputs, weights, bias)]
    return functional.layer_norm(given[0], inputs.shape[-1:], *given[1:], epsilon)


@settings(max_examples=40, deadline=None)
@given(
    lines=st.integers(1, 50),
    width=st.integers(1, 100),
    mean=st.sampled_from([0.0, -2.0]),
    has=st.tuples(st.booleans(), st.booleans()),
    epsilon=st.sampled_from([1e-5, 0.1]),
    seed=st.integers(0, 1000),
)
def test_results_are_torchs_to_rounding(lines, width, mean, has, epsilon, seed):
    inputs, *parameters = drawn(lines, width, mean=mean, seed=seed)
    made = inputs, *(each if there else None for each, there in zip(parameters, has, strict=True))
    found = norms.OPERATOR(*made, epsilon)
    torch.testing.assert_close(found.double(), exact(*made, epsilon), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [5, 16, 40, 300, 1024])
@pytest.mark.parametrize("mean", [0.0, 5.0, 100.0])
def test_errors_are_no_larger_than_torchs(width, mean):
    made = drawn(500, width, mean=mean)
    expected = exact(*made)
    ours, torchs = (
        (found - expected).square().mean().sqrt().item()
        for found in (norms.OPERATOR(*made, 1e-5), exact(*made, dtype=torch.float32))
    )
    assert ours < 1.15 * torchs


def test_a_lines_numbers_do_not_depend_on_the_others_nor_on_how_they_are_laid_out():
    made = drawn(100, 43)
    together = norms.OPERATOR(*made, 1e-5)
    for line in (0, 15, 16, 99):
        alone = norms.OPERATOR(made[0][line : line + 1], *made[1:], 1e-5)
        assert torch.equal(together[line], alone[0])
    turned = [torch.stack([each, each], dim=-1)[..., 0] for each in made]
    assert torch.equal(together, norms.OPERATOR(*turned, 1e-5))
    folded = norms.OPERATOR(made[0].view(5, 20, 43).transpose(0, 1), *made[1:], 1e-5)
    assert folded.is_contiguous() and torch.equal(together.view(5, 20, 43).transpose(0, 1), folded)


@pytest.mark.parametrize("special", [float("nan"), float("inf"), 1e30])
def test_what_is_no_finite_number_stays_in_its_line(special):
    made = drawn(20, 21)
    expected = norms.OPERATOR(*made, 1e-5)
    made[0][3, 20] = special
    found = norms.OPERATOR(*made, 1e-5)
    others = torch.arange(20) != 3
    assert torch.equal(found[others], expected[others])
    assert found[3].isnan().any() == exact(*made, dtype=torch.float32)[3].isnan().any()


@pytest.mark.parametrize("place", range(3))
def test_tensors_of_other_shapes_or_kinds_are_refused(place):
    made = list(drawn(20, 21))
    for changed in (made[place][..., :-1], made[place].double()):
        given = [*made[:place], changed, *made[place + 1 :]]
        with pytest.raises(RuntimeError, match="of a layer norm: expected"):
            norms.OPERATOR(*given, 1e-5)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_of_nothing_there_are_no_results(shape):
    assert norms.OPERATOR(*drawn(*shape), 1e-5).shape == shape
