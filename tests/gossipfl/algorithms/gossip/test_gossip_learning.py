"""Gossip learning on rows, against a literal transcription of its papers for one node at a time."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import GossipLearning, Message
from gossipfl.algorithms.gossip.gossip_learning import merge
from gossipfl.settings import TrainingSettings
from gossipfl.training import NodeData, Nodes, Trainer
from tests.gossipfl.training.small_tasks import blobs, task_of

SIZE, SHARED = 6, 4
LEARNING_RATE = 0.25
MERGES = ["RW", "MU", "UM"]


@dataclass
class Model:
    """One model as Ormándi et al. (2013) have it: a vector w, and its age t."""

    w: list[float]
    t: int


def paper_update(m: Model, target: list[float]) -> Model:
    """A gradient step on ½‖w − target‖², as a stand-in for the paper's Pegasos step."""
    return Model([w - LEARNING_RATE * (w - z) for w, z in zip(m.w, target, strict=True)], m.t + 1)


def paper_merge(m1: Model, m2: Model, weighting: str, limit: int | None) -> Model:
    """Ormándi et al. 2013, procedure MERGE; weights by age, Hegedűs et al. 2021; limit, Danner et al. 2023."""
    if limit is not None and abs(m1.t - m2.t) > limit:
        return m1 if m1.t > m2.t else m2
    if weighting == "plain" or m1.t + m2.t == 0:
        a1, a2 = 0.5, 0.5
    else:
        a1, a2 = m1.t / (m1.t + m2.t), m2.t / (m1.t + m2.t)
    return Model([a1 * x + a2 * y for x, y in zip(m1.w, m2.w, strict=True)], max(m1.t, m2.t))


def paper_create_model(
    kind: str, m1: Model, m2: Model, target: list[float], weighting: str, limit: int | None
) -> Model:
    """Ormándi et al. 2013, Algorithm 2: m1 has just been received, m2 is the node's own."""
    if kind == "RW":
        return paper_update(m1, target)
    if kind == "MU":
        return paper_update(paper_merge(m1, m2, weighting, limit), target)
    return paper_merge(paper_update(m1, target), paper_update(m2, target), weighting, limit)


def update_towards(targets: torch.Tensor) -> object:
    def update(nodes: Nodes) -> Nodes:
        rows = nodes.rows - LEARNING_RATE * (nodes.rows - targets)
        return replace(nodes, rows=rows, ages=nodes.ages + 1, steps=nodes.steps + 1)

    return update


def identity(nodes: Nodes) -> Nodes:
    return nodes


def algorithm(merge: str = "MU", weighting: str = "age", limit: int | None = None) -> GossipLearning:
    return GossipLearning(merge=merge, weighting=weighting, merge_limit=limit)  # type: ignore[arg-type]


def random_nodes(count: int, seed: int, *, largest_age: int = 20) -> Nodes:
    generator = torch.Generator().manual_seed(seed)
    return Nodes(
        rows=torch.randn(count, SIZE, generator=generator),
        ages=torch.randint(0, largest_age + 1, (count,), generator=generator),
        steps=torch.randint(0, 20, (count,), generator=generator),
        optimiser_state=torch.randn(count, 3, generator=generator),
    )


cases = given(
    count=st.integers(1, 8),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(MERGES),
    weighting=st.sampled_from(["age", "plain"]),
    largest_age=st.sampled_from([0, 1, 20, 2**40]),
    limit=st.sampled_from([None, 0, 3, 30]),
)


@settings(deadline=None)
@cases
def test_absorbing_is_creating_a_model_as_the_papers_do(
    count: int, seed: int, kind: str, weighting: str, largest_age: int, limit: int | None
) -> None:
    nodes = random_nodes(count, seed, largest_age=largest_age)
    senders = random_nodes(count, seed + 1, largest_age=largest_age)
    targets = torch.randn(count, SIZE, generator=torch.Generator().manual_seed(seed + 2))
    gossip = algorithm(kind, weighting, limit if kind != "RW" else None)
    before = copy.deepcopy((nodes, senders))
    after = gossip.on_receipt(
        nodes,
        gossip.emit(senders, shared_size=SHARED),
        update=update_towards(targets),  # type: ignore[arg-type]
    )
    for node in range(count):
        own = Model(nodes.rows[node, :SHARED].tolist(), int(nodes.ages[node]))
        received = Model(senders.rows[node, :SHARED].tolist(), int(senders.ages[node]))
        expected = paper_create_model(kind, received, own, targets[node, :SHARED].tolist(), weighting, limit)
        assert after.rows[node, :SHARED].tolist() == pytest.approx(expected.w, abs=1e-5)
        assert after.ages[node] == expected.t
        local = paper_update(Model(nodes.rows[node, SHARED:].tolist(), 0), targets[node, SHARED:].tolist())
        assert after.rows[node, SHARED:].tolist() == pytest.approx(local.w, abs=1e-5)
    assert torch.equal(after.steps, nodes.steps + 1)
    assert torch.equal(after.optimiser_state, nodes.optimiser_state)
    for value, old in zip((nodes, senders), before, strict=True):
        assert torch.equal(value.rows, old.rows)
        assert torch.equal(value.ages, old.ages)


@settings(deadline=None)
@cases
def test_nodes_absorb_in_any_order_and_company_alike(
    count: int, seed: int, kind: str, weighting: str, largest_age: int, limit: int | None
) -> None:
    nodes = random_nodes(count, seed, largest_age=largest_age)
    gossip = algorithm(kind, weighting, limit if kind != "RW" else None)
    message = gossip.emit(random_nodes(count, seed + 1), shared_size=SHARED)
    together = gossip.on_receipt(nodes, message, update=identity)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    permuted = gossip.on_receipt(
        nodes.select(order), Message(shared=message.shared[order], ages=message.ages[order]), update=identity
    )
    assert torch.equal(permuted.rows, together.rows[order])
    assert torch.equal(permuted.ages, together.ages[order])
    for node in range(count):
        one = slice(node, node + 1)
        alone = gossip.on_receipt(
            nodes.select(one), Message(shared=message.shared[one], ages=message.ages[one]), update=identity
        )
        assert torch.equal(alone.rows, together.rows[one])


@settings(deadline=None)
@given(
    own=st.floats(-1e6, 1e6, width=32),
    other=st.floats(-1e6, 1e6, width=32),
    own_age=st.integers(0, 2**63 - 1),
    other_age=st.integers(0, 2**63 - 1),
    weighting=st.sampled_from(["age", "plain"]),
)
def test_a_merge_lies_between_its_two_models_whatever_their_ages(
    own: float, other: float, own_age: int, other_age: int, weighting: str
) -> None:
    merged = merge(
        torch.tensor([[own]]),
        torch.tensor([own_age]),
        torch.tensor([[other]]),
        torch.tensor([other_age]),
        weighting=weighting,  # type: ignore[arg-type]
    ).item()
    rounding = 1e-6 * max(abs(own), abs(other))
    assert min(own, other) - rounding <= merged <= max(own, other) + rounding
    weight = 0.5 if weighting == "plain" or own_age + other_age == 0 else other_age / (own_age + other_age)
    assert merged == pytest.approx(own + weight * (other - own), abs=1e-6 * (abs(own) + abs(other)) + 1e-30)


@settings(deadline=None)
@given(pairs=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_a_plain_exchange_both_ways_preserves_the_mean_and_closes_the_gap(pairs: int, seed: int) -> None:
    nodes = random_nodes(2 * pairs, seed)
    partner = torch.arange(2 * pairs).reshape(pairs, 2).flip(1).reshape(-1)
    gossip = algorithm("MU", "plain")
    message = gossip.emit(nodes.select(partner), shared_size=SHARED)
    after = gossip.on_receipt(nodes, message, update=identity)
    shared = slice(None, SHARED)
    torch.testing.assert_close(
        after.rows[:, shared].mean(0), nodes.rows[:, shared].mean(0), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(after.rows[0, shared], after.rows[1, shared])
    assert torch.equal(after.rows[:, SHARED:], nodes.rows[:, SHARED:])
    assert torch.equal(after.ages, torch.maximum(nodes.ages, nodes.ages[partner]))


def test_weights_by_age_favour_what_has_trained_longer() -> None:
    own, other = torch.zeros(4, 1), torch.ones(4, 1)
    own_ages, other_ages = torch.tensor([3, 0, 5, 0]), torch.tensor([1, 7, 0, 0])
    merged = merge(own, own_ages, other, other_ages, weighting="age")
    assert merged[:, 0].tolist() == [0.25, 1.0, 0.0, 0.5]


@pytest.mark.parametrize("weighting", ["age", "plain"])
def test_beyond_its_limit_a_merge_takes_the_older_model_as_it_is(weighting: str) -> None:
    own, other = torch.zeros(4, 1), torch.ones(4, 1)
    own_ages, other_ages = torch.tensor([10, 10, 10, 10]), torch.tensor([14, 13, 7, 6])
    merged = merge(own, own_ages, other, other_ages, weighting=weighting, limit=3)[:, 0].tolist()  # type: ignore[arg-type]
    assert (merged[0], merged[3]) == (1.0, 0.0)
    assert 0 < merged[1] < 1
    assert 0 < merged[2] < 1


def test_a_limit_on_merges_that_never_happen_is_refused() -> None:
    with pytest.raises(ValueError, match="never merged"):
        GossipLearning(merge="RW", merge_limit=3)


@pytest.mark.parametrize(("kind", "age"), [("RW", 3), ("MU", 8), ("UM", 8)])
def test_ages_follow_the_longest_line_except_on_a_random_walk(kind: str, age: int) -> None:
    nodes = replace(random_nodes(1, 0), ages=torch.tensor([7]), steps=torch.tensor([40]))
    message = Message(shared=torch.zeros(1, SHARED), ages=torch.tensor([2]))
    after = algorithm(kind).on_receipt(nodes, message, update=update_towards(torch.zeros(1, SIZE)))  # type: ignore[arg-type]
    assert after.ages.tolist() == [age]
    assert after.steps.tolist() == [41]


@pytest.mark.parametrize("kind", MERGES)
def test_with_real_training_a_personal_head_and_statistics_never_leave(kind: str) -> None:
    task, data = task_of("batch_norm", local=("3.*",)), blobs()
    parts = [np.arange(0, 200), np.arange(200, 400)]
    node_data = NodeData.partitioned(data.train_inputs, data.train_targets, parts)
    trainer = Trainer.of(task, node_data, TrainingSettings(momentum=0.9, batch_size=16))
    layout = trainer.layout

    def update(nodes: Nodes) -> Nodes:
        return trainer.train(nodes, np.array([0]))[0]

    start = Nodes.start(task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size)
    sender = trainer.train(start, np.array([1]))[0]
    marked = replace(sender, rows=sender.rows.clone())
    marked.rows[:, layout.shared_size :] = torch.nan
    gossip = algorithm(kind)
    message = gossip.emit(marked, shared_size=layout.shared_size)
    assert message.shared.shape == (1, layout.shared_size)
    after = gossip.on_receipt(start, message, update=update)
    assert after.rows.isfinite().all()
    assert torch.equal(
        after.rows,
        gossip.on_receipt(start, gossip.emit(sender, shared_size=layout.shared_size), update=update).rows,
    )


def test_nodes_that_gossip_without_training_agree_in_the_end() -> None:
    generator = torch.Generator().manual_seed(0)
    nodes = random_nodes(16, 0)
    mean = nodes.rows[:, :SHARED].mean(0)
    gossip = algorithm("MU", "plain")
    for _ in range(60):
        partner = torch.randperm(16, generator=generator).reshape(8, 2)
        exchange = torch.empty(16, dtype=torch.int64)
        exchange[partner[:, 0]], exchange[partner[:, 1]] = partner[:, 1], partner[:, 0]
        nodes = gossip.on_receipt(
            nodes, gossip.emit(nodes.select(exchange), shared_size=SHARED), update=identity
        )
    torch.testing.assert_close(nodes.rows[:, :SHARED], mean.expand(16, -1), rtol=0, atol=1e-5)
