"""Models of the next word, against plain computations of the same."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from gossipfl.tasks.words.coupled_gates import coupled_gates
from gossipfl.tasks.words.cross_entropy import mean_surprise
from gossipfl.tasks.words.metrics import perplexity, recall, surprise, user_recall, worst_recall
from gossipfl.tasks.words.models import CELLS, SIZES, CoupledLSTM, NextWord, Size

SMALL = Size(words=30, width=8, units=12)


def batch(seed=0, *, n=6, length=7):
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(0, 30, (n, length), generator=generator)
    following = torch.randint(-10, 30, (n, length), generator=generator)
    return words, torch.where(following < 5, -100, following)


def model(cell="cifg", seed=0):
    torch.manual_seed(seed)
    made = NextWord(SMALL, cell)
    with torch.no_grad():
        made.bias.normal_()
    return made


def test_the_papers_model_has_its_parameters():
    counts = {name: part.numel() for name, part in NextWord(SIZES["paper"]).named_parameters()}
    total = sum(counts.values())
    assert round(total / 1e6, 1) == 1.4  # Hard et al. 2018, Section 3
    assert 2 / 3 < counts["embedding.weight"] / total < 0.7  # "more than two thirds"
    # Three gates, as input and forget gates are one: a quarter less than an LSTM with the same projection.
    lstm = torch.nn.LSTM(96, 670, proj_size=96, bias=False)
    gates = counts["body.of_input.weight"] + counts["body.of_state.weight"]
    assert gates + counts["body.projection.weight"] == 3 * (lstm.weight_ih_l0.numel() * 2) // 4 + 670 * 96


def test_coupled_gates_are_an_lstm_whose_gates_are_tied():
    torch.manual_seed(0)
    cell, lstm = CoupledLSTM(8, 12), torch.nn.LSTMCell(8, 12)
    inputs = torch.randn(5, 9, 8)
    forget, out, new = cell.of_input.weight.chunk(3)
    forget_bias, out_bias, new_bias = cell.of_input.bias.chunk(3)
    kept_forget, kept_out, kept_new = cell.of_state.weight.chunk(3)
    output, state, found = torch.zeros(5, 8), torch.zeros(5, 12), []
    for step in inputs.unbind(1):
        # sigmoid(−x) is 1 − sigmoid(x): torch's cell computes it with the forget gate's weights turned round.
        lstm.weight_ih.data = torch.cat([-forget, forget, new, out])
        lstm.bias_ih.data = torch.cat([-forget_bias, forget_bias, new_bias, out_bias])
        recurrent = torch.cat([-kept_forget, kept_forget, kept_new, kept_out])
        lstm.bias_hh.data.zero_()
        # The projected output goes through W_h: torch's cell sees it as an input of the full width.
        lstm.weight_hh.data = recurrent @ cell.projection.weight
        full, state = lstm(step, (unprojected(output, cell), state))
        output = cell.projection(full)
        found.append(output)
    torch.testing.assert_close(cell(inputs), torch.stack(found, dim=1))


def unprojected(output, cell):
    return output @ torch.linalg.pinv(cell.projection.weight).T


@pytest.mark.parametrize("cell", CELLS)
def test_nobody_sees_the_words_that_follow(cell):
    made, (words, following) = model(cell).eval(), batch()
    before = made(words, following)["surprise"]
    words[:, 4:] = 9
    assert torch.equal(made(words, following)["surprise"][:, :4], before[:, :4])


@pytest.mark.parametrize("cell", CELLS)
def test_training_and_evaluation_are_cross_entropy(cell):
    made, (words, following) = model(cell), batch()
    scores = made.scores(made.hidden(words))
    expected = functional.cross_entropy(scores.flatten(0, 1), following.flatten())
    targets = {"following": following, "user": torch.zeros(6, dtype=torch.int64)}
    torch.testing.assert_close(surprise(made(words, following), targets), expected)
    evaluated = made.eval()(words, following)
    torch.testing.assert_close(surprise(evaluated, targets), expected)
    torch.testing.assert_close(perplexity(evaluated, targets), expected.exp())
    torch.testing.assert_close(made(words), scores[:, -1])
    for count in (1, 3):
        best = scores.topk(count, dim=-1).indices
        hits = (best == following[..., None]).any(-1)[following >= 0]
        torch.testing.assert_close(recall(evaluated, targets, suggestions=count), hits.float().mean())


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 70), st.sampled_from([3, 9_000]))
def test_the_gradient_found_in_one_pass_is_that_of_cross_entropy(seed, places, words):
    generator = torch.Generator().manual_seed(seed)
    given = [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((2, places, 4), (2, words, 4), (2, words))
    ]
    wanted = torch.randint(-2, words, (2, places), generator=generator)
    wanted[0, 0] = 0  # torch's cross-entropy of nothing is NaN, and ours 0
    wanted[1, 0] = 1
    factors = torch.tensor([1.0, -2.0], dtype=torch.float64)
    found = torch.vmap(mean_surprise)(*given, wanted)
    expected = torch.stack(
        [
            functional.cross_entropy(h @ table.T + bias, w.clamp(min=-1), ignore_index=-1)
            for h, table, bias, w in zip(*given, wanted, strict=True)
        ]
    )
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        torch.autograd.grad((found * factors).sum(), given),
        torch.autograd.grad((expected * factors).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_a_batch_without_known_words_has_no_gradient():
    made, (words, following) = model(), batch()
    loss = made(words, torch.full_like(following, -100))["mean"]
    loss.backward()
    assert loss == 0
    assert not made.bias.grad.any()


@pytest.mark.parametrize("broken", [math.nan, 0.0])
def test_a_model_that_knows_nothing_foresees_nothing(broken):
    made, (words, following) = model().eval(), batch()
    for parameter in made.parameters():
        parameter.data.fill_(broken)
    targets = {"following": following, "user": torch.zeros(6, dtype=torch.int64)}
    assert recall(made(words, following), targets) == 0


def test_recall_by_user():
    rank = torch.tensor([[0, 0, 9, 9], [0, 0, 0, 0], [9, 9, 9, 0], [9, 9, 9, 9]])
    following = torch.tensor([[5, 5, 5, 5], [5, 5, -100, -100], [5, 5, 5, -100], [-100] * 4])
    targets = {"following": following, "user": torch.tensor([0, 1, 0, 2])}
    outputs = {"rank": rank, "surprise": torch.ones(4, 4)}
    assert recall(outputs, targets) == pytest.approx(4 / 9)
    assert user_recall(outputs, targets) == pytest.approx((2 / 7 + 1) / 2)  # the third user has no known word
    assert worst_recall(outputs, targets) == pytest.approx(2 / 7)


def test_the_worst_tenth_of_users():
    shares = torch.linspace(0, 1, 21)[torch.randperm(21, generator=torch.Generator().manual_seed(0))]
    rank = torch.stack([(torch.arange(20) >= round(20 * float(share))).long() for share in shares])
    targets = {"following": torch.full((21, 20), 7), "user": torch.arange(21)}
    found = worst_recall({"rank": rank, "surprise": rank.float()}, targets)
    assert found == pytest.approx((0 + 0.05 + 0.1) / 3)  # three of 21


def recurrence(gates, of_state, projection):
    """The same, one operation after another."""
    output = cell = gates.new_zeros(1)
    found = []
    for at_step in gates.unbind(1):
        recurrent = output @ of_state.T if found else 0
        forget, out, new = (at_step + recurrent).chunk(3, dim=-1)
        cell = forget.sigmoid() * cell + (1 - forget.sigmoid()) * new.tanh()
        output = (out.sigmoid() * cell.tanh()) @ projection.T
        found.append(output)
    return torch.stack(found, dim=1)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 4))
def test_the_gradient_of_coupled_gates_is_that_of_their_operations(seed, length, rows):
    generator = torch.Generator().manual_seed(seed)
    given = [
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((rows, 3, length, 15), (rows, 15, 4), (rows, 4, 5))
    ]
    direction = torch.randn((rows, 3, length, 4), generator=generator, dtype=torch.float64)
    expected = torch.stack([recurrence(*row) for row in zip(*given, strict=True)])
    wanted = torch.autograd.grad((expected * direction).sum(), given, allow_unused=True)
    for found in (
        torch.vmap(coupled_gates)(*given),
        torch.stack([coupled_gates(*row) for row in zip(*given, strict=True)]),
    ):
        torch.testing.assert_close(found, expected)
        for one, other in zip(torch.autograd.grad((found * direction).sum(), given), wanted, strict=True):
            torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other)


@pytest.mark.parametrize("cell", CELLS)
def test_half_precision_changes_a_gradient_by_less_than_a_hundredth(cell):
    words, following = batch(n=32)
    whole, half = model(cell), NextWord(SMALL, cell, half=True)
    half.load_state_dict(whole.state_dict())
    gradients = []
    for made in (whole, half):
        made(words, following)["mean"].backward()
        gradients.append(torch.cat([part.grad.flatten() for part in made.parameters()]))
    assert not torch.equal(*gradients)
    assert gradients[0].dtype == gradients[1].dtype
    assert (gradients[0] - gradients[1]).norm() < 0.01 * gradients[0].norm()
    assert torch.equal(whole.eval()(words, following)["rank"], half.eval()(words, following)["rank"])
