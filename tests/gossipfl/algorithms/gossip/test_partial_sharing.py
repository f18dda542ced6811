"""Gossip of parts of models, against what whole models would do."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.algorithms import (
    DPSGD,
    GossipLearning,
    Message,
    Mixed,
    RoundContext,
    Sharing,
)
from gossipfl.training import Nodes


def unchanged(nodes):
    return nodes


def nodes_with(rows, ages):
    start = Nodes.start(rows)
    return Nodes(
        rows=rows, ages=torch.as_tensor(ages), steps=start.steps, optimiser_state=start.optimiser_state
    )


def test_all_parts_together_are_the_whole_merge():
    torch.manual_seed(0)
    own, other, parts = torch.randn(3, 11), torch.randn(3, 11), 4
    ages, others = torch.tensor([3, 0, 5]), torch.tensor([1, 2, 5])
    partial = GossipLearning(sharing=Sharing(kind="partitioned", parts=parts))
    nodes = nodes_with(own, ages[:, None].repeat(1, parts))
    message = Message(shared=other, ages=others[:, None].repeat(1, parts))
    for part in range(parts):
        nodes = partial.on_receipt(nodes, replace(message, part=torch.full((3,), part)), update=unchanged)
    whole = GossipLearning(merge="MU").on_receipt(
        nodes_with(own, ages), Message(shared=other, ages=others), update=unchanged
    )
    assert torch.allclose(nodes.rows, whole.rows)
    assert nodes.ages.tolist() == whole.ages[:, None].repeat(1, parts).tolist()


def test_only_the_part_that_came_changes_and_only_its_age():
    partial = GossipLearning(sharing=Sharing(kind="partitioned", parts=3))
    nodes = nodes_with(torch.zeros(2, 7), torch.tensor([[1, 1, 1], [2, 2, 2]]))
    message = Message(shared=torch.ones(2, 7), ages=torch.tensor([[5, 6, 7], [1, 1, 1]]))
    after = partial.on_receipt(nodes, replace(message, part=torch.tensor([2, 0])), update=unchanged)
    assert after.ages.tolist() == [[1, 1, 7], [2, 2, 2]]
    assert (after.rows[0] != 0).tolist() == [False, False, True, False, False, True, False]
    assert after.rows[0, 2].item() == pytest.approx(7 / 8)
    assert after.rows[1, 0].item() == pytest.approx(1 / 3)


def test_subsamples_have_their_size_and_differ_from_message_to_message():
    partial = GossipLearning(sharing=Sharing(kind="subsampled", parts=10))
    chosen = partial.sharing.chosen(torch.arange(200), 5000)
    assert chosen.float().mean().item() == pytest.approx(0.1, abs=0.002)
    assert chosen.float().mean(dim=0).std().item() == pytest.approx((0.1 * 0.9 / 200) ** 0.5, rel=0.1)
    assert not torch.equal(chosen[0], chosen[1])
    assert torch.equal(chosen[7], partial.sharing.chosen(torch.tensor([7]), 5000)[0])


def test_subsampled_coordinates_are_averaged_and_others_kept():
    partial = GossipLearning(sharing=Sharing(kind="subsampled", parts=3), weighting="plain")
    message = Message(shared=torch.ones(1, 50), ages=torch.tensor([9]), part=torch.tensor([123]))
    after = partial.on_receipt(nodes_with(torch.zeros(1, 50), [4]), message, update=unchanged)
    chosen = partial.sharing.chosen(torch.tensor([123]), 50)
    assert torch.equal(after.rows, chosen * 0.5)
    assert after.ages.tolist() == [9]


@pytest.mark.parametrize("order", ["adapt-then-combine", "combine-then-adapt", "both-at-once"])
def test_orders_of_a_round_are_their_equations(order):
    """One round on f_i(x) = ½‖x − b_i‖² with full gradients, written out with matrices."""
    torch.manual_seed(0)
    X, B, eta = torch.randn(4, 3), torch.randn(4, 3), 0.3
    W = torch.tensor([[0.5, 0.5, 0, 0], [0.5, 0.25, 0.25, 0], [0, 0.25, 0.25, 0.5], [0, 0, 0.5, 0.5]])

    def update(nodes):
        return nodes.with_shared(nodes.rows - eta * (nodes.rows - B), ages=nodes.ages + 1)

    expected = {
        "adapt-then-combine": W @ (X - eta * (X - B)),
        "combine-then-adapt": W @ X - eta * (W @ X - B),
        "both-at-once": W @ X - eta * (X - B),
    }[order]
    algorithm = DPSGD(order)
    context = RoundContext(
        local=SimpleNamespace(update=update), shared_size=3, round=0, numbers=torch.arange(4)
    )
    round_under_way = algorithm.round(Nodes.start(X), context)
    sent = next(round_under_way).rows
    with pytest.raises(StopIteration) as ended:
        round_under_way.send(Mixed(rows=W @ sent, sent=sent))
    after = ended.value.value
    assert torch.allclose(after.rows, expected, atol=1e-6)
    assert after.ages.tolist() == [1] * 4


@given(
    st.sampled_from(["whole", "partitioned", "subsampled"]), st.integers(2, 9), st.integers(0, 200), st.data()
)
def test_a_part_is_what_was_chosen(kind, parts, size, data):
    sharing = Sharing(kind=kind, parts=parts)
    part = data.draw(st.integers(0, sharing.count - 1))
    rows, others = torch.arange(2.0 * size).reshape(2, size), -torch.ones(2, size)
    chosen = sharing.chosen(torch.tensor([part]), size)[0]
    numbers = sharing.numbers(rows, part)
    assert numbers.equal(rows[:, chosen])
    least, most = sharing.bounds(size)
    assert least <= numbers.shape[1] <= most
    filled = sharing.filled(others, part, numbers)
    assert filled.equal(torch.where(chosen, rows, others))
    assert others.eq(-1).all()


@pytest.mark.parametrize("kind", ["partitioned", "subsampled"])
def test_a_large_row_is_marked_block_by_block(kind, monkeypatch):
    part, sharing = torch.tensor([3, 1, 4]), Sharing(kind=kind, parts=5)
    whole = sharing.chosen(part, 1000)
    monkeypatch.setattr("gossipfl.algorithms.gossip.sharing._BLOCK", 64)
    assert sharing.chosen(part, 1000).equal(whole)


def test_nodes_get_as_many_ages_as_their_algorithm_has_parts():
    nodes = nodes_with(torch.zeros(2, 3), torch.tensor([[1, 5], [2, 0]]))
    assert nodes.with_parts(2) is nodes
    assert nodes.with_parts(3).ages.tolist() == [[5, 5, 5], [2, 2, 2]]
    assert nodes.with_parts(1).ages.tolist() == [5, 2]
    assert nodes.with_parts(1).with_parts(2).ages.tolist() == [[5, 5], [2, 2]]
