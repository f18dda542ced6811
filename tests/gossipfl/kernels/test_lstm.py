"""LSTM layers by our kernels, against torch's own in double precision, and against themselves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, vmap

from gossipfl.kernels.building import has_compiler
from gossipfl.tasks import native_lstm
from gossipfl.tasks.batchable import BatchableOperators, NativeRecurrence

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler")


class Given:
    """A layer, and all that goes into it for so many rows; of double precision."""

    def __init__(self, layer, *, rows, samples, steps, seed):
        self.layer, self.rows = layer.double(), rows
        self._generator = torch.Generator().manual_seed(seed)
        layer_count = (1 + layer.bidirectional) * layer.num_layers
        order = (samples, steps) if layer.batch_first else (steps, samples)
        self.parameters = {key: self.drawn(rows, *each.shape) for key, each in layer.named_parameters()}
        self.inputs = self.drawn(rows, *order, layer.input_size)
        self.states = [self.drawn(rows, layer_count, samples, layer.hidden_size) for _ in range(2)]

    def drawn(self, *shape):
        numbers = torch.randn(shape, generator=self._generator, dtype=torch.float64)
        return numbers / max(1.0, shape[-1] ** 0.5)

    def as_kind(self, dtype):
        """Everything in a dtype: parameters, inputs, states."""
        every = *self.parameters.values(), self.inputs, *self.states
        return [each.to(dtype).requires_grad_() for each in every]

    def results(self, *numbers):
        """Outputs, last states: of one row."""
        *parameters, inputs, hidden, cell = numbers
        named = dict(zip(self.parameters, parameters, strict=True))
        outputs, (last, last_cell) = functional_call(self.layer, named, (inputs, (hidden, cell)))
        return outputs, last, last_cell


@pytest.fixture
def calls(monkeypatch):
    """How often a kernel was called."""
    found, computed = [], native_lstm.computed

    def counted(*arguments, **options):
        found.append(None)
        return computed(*arguments, **options)

    monkeypatch.setattr("gossipfl.tasks.batched_recurrence.computed", counted)
    return found


SIZES = st.integers(1, 40)


@settings(max_examples=25, deadline=None)
@given(
    width=SIZES,
    units=SIZES,
    rows=st.integers(1, 3),
    samples=st.integers(1, 13),
    steps=st.integers(1, 6),
    layers=st.integers(1, 2),
    bias=st.booleans(),
    batch_first=st.booleans(),
    bidirectional=st.booleans(),
    used=st.sampled_from([(0,), (1,), (2,), (0, 1, 2)]),
    seed=st.integers(0, 1000),
)
def test_results_and_gradients_are_torchs_to_rounding(
    width, units, rows, samples, steps, layers, bias, batch_first, bidirectional, used, seed
):
    assert native_lstm.is_available()
    layer = nn.LSTM(width, units, layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional)
    made = Given(layer, rows=rows, samples=samples, steps=steps, seed=seed)
    ours, exact = made.as_kind(torch.float32), made.as_kind(torch.float64)
    with BatchableOperators():
        together = vmap(made.results)(*ours)
    each = [made.results(*(tensor[row] for tensor in exact)) for row in range(rows)]
    alone = [torch.stack(parts) for parts in zip(*each, strict=True)]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=2e-6)
    weights = [made.drawn(*alone[k].shape) for k in used]
    gradients = [
        torch.autograd.grad(
            sum((found[k] * weight.to(found[k])).sum() for k, weight in zip(used, weights, strict=True)),
            numbers,
            allow_unused=True,
            materialize_grads=True,
        )
        for found, numbers in ((together, ours), (alone, exact))
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(
            one.double(), other, rtol=1e-4, atol=1e-5 * max(1.0, float(other.abs().max()))
        )


def test_a_rows_numbers_do_not_depend_on_the_others_nor_on_how_they_are_laid_out(calls):
    made = Given(nn.LSTM(11, 21, batch_first=True), rows=5, samples=9, steps=4, seed=1)
    numbers = made.as_kind(torch.float32)

    def found(rows, given):
        with BatchableOperators():
            results = vmap(made.results)(*(each[rows] for each in given))
        return *results, *torch.autograd.grad(results[0].square().sum(), given)

    together = found(slice(None), numbers)
    strided = [
        torch.cat([each, each], dim=-1)[..., : each.shape[-1]].detach().requires_grad_() for each in numbers
    ]
    for one, other in zip(together, found(slice(None), strided), strict=True):
        assert torch.equal(one, other)
    for row in range(made.rows):
        for one, other in zip(together, found(slice(row, row + 1), numbers), strict=True):
            assert torch.equal(one[row], other[0] if len(other) == 1 else other[row])
    assert len(calls) == 2 + made.rows


def test_a_single_row_is_computed_as_the_same_among_many(calls):
    made = Given(nn.LSTM(7, 18, 2), rows=3, samples=4, steps=5, seed=2)
    numbers = [each.detach() for each in made.as_kind(torch.float32)]
    with BatchableOperators():
        together = vmap(made.results)(*numbers)
    with NativeRecurrence():
        for row in range(made.rows):
            for one, other in zip(together, made.results(*(each[row] for each in numbers)), strict=True):
                assert torch.equal(one[row], other)
    assert len(calls) == 2 * (1 + made.rows)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e30])
def test_what_is_not_finite_stays_so_for_its_sample_alone(number):
    made = Given(nn.LSTM(5, 9, batch_first=True), rows=2, samples=3, steps=4, seed=3)
    numbers = [each.detach() for each in made.as_kind(torch.float32)]
    numbers[-3][1, 2, 1, 0] = number
    with BatchableOperators():
        together = vmap(made.results)(*numbers)
    made.layer.float()
    for row in range(2):
        for one, other in zip(together, made.results(*(each[row] for each in numbers)), strict=True):
            torch.testing.assert_close(one[row], other, equal_nan=True)


UNSERVED = {
    "double precision": (nn.LSTM(3, 4).double(), torch.float64),
    "projected": (nn.LSTM(3, 4, proj_size=2), torch.float32),
    "large": (nn.LSTM(3, 600), torch.float32),
}


@pytest.mark.parametrize("name", UNSERVED)
def test_what_the_kernels_do_not_serve_is_left_to_torch(name, calls):
    layer, dtype = UNSERVED[name]
    inputs = torch.randn(2, 3, 3, dtype=dtype)
    with NativeRecurrence(), torch.no_grad():
        found = layer(inputs)[0]
    with torch.no_grad():
        assert torch.equal(found, layer(inputs)[0]) and not calls


def test_an_operator_called_by_keywords_is_left_to_torch(calls):
    layer, inputs, state = nn.LSTM(3, 4), torch.randn(5, 2, 3), torch.zeros(1, 2, 4)
    options = {"has_biases": True, "num_layers": 1, "dropout": 0.0, "train": False, "bidirectional": False}
    with NativeRecurrence():
        found, *_ = torch.lstm(inputs, (state, state), list(layer.parameters()), batch_first=False, **options)
    assert torch.equal(found, layer(inputs)[0]) and not calls


def test_packed_sequences_are_left_to_torch(calls):
    layer, packed = nn.LSTM(3, 4), nn.utils.rnn.pack_sequence([torch.ones(3, 3), torch.ones(2, 3)])
    with NativeRecurrence():
        assert torch.equal(layer(packed)[0].data, layer(packed)[0].data) and not calls


def test_without_a_compiler_torchs_operators_do(monkeypatch, calls):
    monkeypatch.setattr(native_lstm, "is_available", lambda: False)
    made = Given(nn.LSTM(3, 4), rows=2, samples=2, steps=3, seed=4)
    numbers = made.as_kind(torch.float32)
    with BatchableOperators():
        together = vmap(made.results)(*numbers)
    made.layer.float()
    for row in range(2):
        for one, other in zip(together, made.results(*(each[row] for each in numbers)), strict=True):
            torch.testing.assert_close(one[row], other)
    assert not calls


@pytest.mark.parametrize("place", range(7))
def test_tensors_of_other_shapes_are_refused(place):
    rows, steps, samples, width, units = 2, 3, 2, 5, 4
    shapes = [(rows, steps, samples, width), (rows, 16, width), (rows, 16, units), (rows, 16), (rows, 16)]
    shapes += [(rows, samples, units)] * 2
    given = [torch.zeros(shape) for shape in shapes]
    call = torch.ops.gossipfl.lstm_layer
    call(*given, False, False, True, None)
    given[place] = given[place][:, :-1] if place else given[place][..., :-1]
    with pytest.raises(RuntimeError, match="of an LSTM: expected"):
        call(*given, False, False, True, None)
    given[place] = None if place in (3, 4) else given[place].double()
    with pytest.raises(RuntimeError, match="of an LSTM: expected"):
        call(*given, False, False, True, None)


def test_of_no_rows_there_are_no_results():
    steps, samples, width, units = 3, 2, 5, 4
    shapes = [(0, steps, samples, width), (0, 16, width), (0, 16, units), (0, 16), (0, 16)]
    inputs, *given = [torch.zeros(shape) for shape in [*shapes, *[(0, samples, units)] * 2]]
    outputs, _, kept = torch.ops.gossipfl.lstm_layer(inputs, *given, False, False, True, None)
    assert outputs.shape == (0, steps, samples, units)
    by = torch.ops.gossipfl.lstm_layer_backward(
        outputs, None, inputs, *given[:2], *given[4:], outputs, kept, False, False, True
    )
    assert [each.shape for each in by[:2]] == [inputs.shape, given[0].shape]


@pytest.mark.parametrize("samples_first", [False, True])
def test_entries_and_tokens_give_what_inputs_do(samples_first):
    rows, steps, samples, width, units, entries = 3, 5, 9, 7, 21, 6
    generator = torch.Generator().manual_seed(5)
    shapes = [(rows, 4 * units, width), (rows, 4 * units, units), *[(rows, 4 * units)] * 2]
    given = [torch.randn(shape, generator=generator) for shape in [*shapes, *[(rows, samples, units)] * 2]]
    table = torch.randn(rows, entries, width, generator=generator)
    order = (rows, samples, steps) if samples_first else (rows, steps, samples)
    tokens = torch.randint(entries, order, generator=generator)
    tokens = tokens.mT if samples_first else tokens
    inputs = torch.stack([each[chosen] for each, chosen in zip(table, tokens, strict=True)])
    call, lines = torch.ops.gossipfl.lstm_layer, table.unsqueeze(2)
    for reverse in (False, True):
        expected = call(inputs, *given, reverse, samples_first, False, None)
        found = call(lines, *given, reverse, samples_first, False, tokens)
        for one, other in zip(expected, found, strict=True):
            assert torch.equal(one, other) and one.stride() == other.stride()
    shared = call(lines, *given, False, samples_first, False, tokens[:1].expand(rows, -1, -1))
    assert torch.equal(shared[0][:1], call(lines, *given, False, samples_first, False, tokens)[0][:1])
    with pytest.raises(RuntimeError, match="no gradient"):
        call(lines, *given, False, samples_first, True, tokens)
    with pytest.raises(RuntimeError, match="int64"):
        call(lines, *given, False, samples_first, False, tokens.int())
    with pytest.raises(RuntimeError, match="of an LSTM: expected"):
        call(inputs, *given, False, samples_first, False, tokens)
    for wrong in (-1, entries):
        changed = tokens.clone()
        changed[2, 4, 8] = wrong
        with pytest.raises(IndexError, match="tokens of an LSTM"):
            call(lines, *given, False, samples_first, False, changed)


def test_what_no_gradient_needs_changes_results_by_rounding_alone():
    made = Given(nn.LSTM(11, 21, batch_first=True), rows=2, samples=9, steps=6, seed=6)
    numbers = [(3 * each).detach() for each in made.as_kind(torch.float32)]
    with BatchableOperators():
        expected = vmap(made.results)(*numbers)
        with torch.no_grad():
            found = vmap(made.results)(*numbers)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
