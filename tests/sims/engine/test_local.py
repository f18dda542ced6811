"""Local training of all nodes in blocks, against training them one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gossipfl.training import Nodes
from sims.engine.block_runner import _Cut
from sims.engine.engine import Phases
from sims.engine.local import BlockTraining
from sims.engine.workers import Workers
from tests.sims.worlds import small, world_of

UNEVEN = ("population.nodes=13", "task.partition=quantity:0.7", "algorithm={name='d_psgd'}")
MODULES = ["linear", "mlp", "batchnorm", "personal", "dropout"]


def training_of(*overrides, threads=1):
    world = world_of(small(*UNEVEN, *overrides))
    local = BlockTraining(
        world,
        expected_rounds=0,
        threads=threads,
        compile_when="never",
        device=torch.device("cpu"),
        phases=Phases(),
    )
    if threads > 1:
        local.blocks.workers = Workers(threads, always=True)  # however little there is to do
    return world, local


def some_nodes(world, *, seed=0):
    """Nodes with rows, ages, steps and momentum of their own, and something an algorithm keeps."""
    generator = torch.Generator().manual_seed(seed)
    n, layout = world.scenario.population.nodes, world.layout
    rows = world.first_rows().expand(n, -1).clone()
    trainable = rows[:, : layout.trainable_size]
    trainable += 0.3 * torch.randn(trainable.shape, generator=generator, dtype=rows.dtype)
    start = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
    return replace(
        start,
        ages=torch.arange(n) * 3,
        steps=torch.arange(n) % 4,
        optimiser_state=torch.randn(start.optimiser_state.shape, generator=generator, dtype=rows.dtype),
        auxiliary={"kept": torch.arange(n)},
    )


def one_by_one(nodes, function):
    """Apply a function of one node and its number to all, each alone."""
    return [function(nodes.select(slice(i, i + 1)), torch.tensor([i]).numpy()) for i in range(len(nodes))]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("model", MODULES)
def test_gradients_are_those_of_each_node_alone(model, threads):
    settings = ("training.clip_norm=0.5", "training.weight_decay=0.1", "training.momentum=0.9")
    world, local = training_of(f"task.options.model={model}", *settings, threads=threads)
    nodes = some_nodes(world)
    after, gradients = local.gradient(nodes)
    local.close()
    alone = one_by_one(nodes, world.trainer.gradient)
    assert torch.allclose(gradients, torch.cat([g for _, g in alone]), rtol=1e-12, atol=1e-13)
    assert torch.allclose(after.rows, torch.cat([n.rows for n, _ in alone]), rtol=1e-12, atol=1e-13)
    assert after.steps.equal(nodes.steps + 1)
    assert after.ages.equal(nodes.ages + 1)
    assert after.optimiser_state.equal(nodes.optimiser_state)
    assert after.auxiliary["kept"].equal(nodes.auxiliary["kept"])


@pytest.mark.parametrize(
    ("model", "threads"), [("mlp", 1), ("batchnorm", 2), ("personal", 1), ("dropout", 1)]
)
def test_losses_are_those_of_each_row_alone_on_the_next_batch_of_whoever_is_named(model, threads):
    world, local = training_of(f"task.options.model={model}", "training.batch_size=16", threads=threads)
    nodes = some_nodes(world)
    whose = torch.tensor([12, 0, 3, 3, 3, 12, 7, 1, 0, 5, 6, 6, 8, 2, 11, 10, 9, 4, 4, 12])
    rows = some_nodes(world, seed=1).rows[torch.arange(len(whose)) % 5]
    before = rows.clone()
    found = local.losses_of(nodes, rows, whose)
    local.close()
    alone = [
        world.trainer.losses(replace(nodes.select(slice(node, node + 1)), rows=row[None]), np.array([node]))
        for row, node in zip(rows, whose.tolist(), strict=True)
    ]
    assert torch.allclose(found, torch.cat(alone), rtol=1e-12, atol=1e-13)
    assert len(found.unique()) > 15
    assert rows.equal(before)
    assert not len(local.losses_of(nodes, rows[:0], whose[:0]))


def test_few_nodes_whose_batches_have_a_size_are_a_small_block_with_the_same_rows(monkeypatch):
    monkeypatch.setattr("sims.engine.batch_sizes.FEW", 1000)  # else batches are padded
    world, local = training_of("task.options.model=mlp", "training.batch_size=100")
    local.blocks.block = 8
    after = local.update(some_nodes(world))
    sizes = np.unique(world.trainer.data.counts, return_counts=True)[1]
    rows = [buffers[0].gathered[0].shape[0] for buffers in local.blocks._buffers.values()]
    assert len(rows) == len(sizes) > 3
    assert all(
        members <= block <= max(2, 2 * members - 1) for block, members in zip(rows, sizes, strict=True)
    )
    _, whole = training_of("task.options.model=mlp", "training.batch_size=100")
    monkeypatch.setattr(whole.blocks, "_block_of", lambda group: 8)
    assert whole.update(some_nodes(world)).rows.equal(after.rows)


@pytest.mark.parametrize(("most", "expected"), [(10_000, 6), (220, 2), (1, 1)])
def test_a_round_of_steps_is_the_same_however_many_are_traced_at_once(most, expected, monkeypatch):
    monkeypatch.setattr("sims.engine.local._MOST_OPERATIONS", most)
    steps = ("task.options.model=mlp", "training.local_steps=6", "training.momentum=0.5")
    world, local = training_of(*steps)
    nodes = some_nodes(world)
    after = local.update(nodes)
    assert local._at_once == expected
    assert {made.operations > 0 for made in local.blocks._programmes.values()} == {True}
    alone, _ = world.trainer.train(nodes, np.arange(len(nodes)))
    assert torch.allclose(after.rows, alone.rows, rtol=1e-12, atol=1e-13)
    assert torch.allclose(after.optimiser_state, alone.optimiser_state, rtol=1e-12, atol=1e-13)
    assert after.steps.equal(nodes.steps + 6)


def test_rows_that_lie_one_after_another_are_not_copied_and_others_come_to_the_same(monkeypatch):
    whole = ("task.partition=iid", "training.batch_size=4", "population.nodes=13", "task.options.model=mlp")
    world, local = training_of(*whole)
    local.blocks.block = 4
    nodes, given = some_nodes(world), []
    function = local.blocks._rows

    def rows(tensors, cut, block):
        found = function(tensors, cut, block)
        given.append(found[0][0].untyped_storage().data_ptr() == nodes.rows.untyped_storage().data_ptr())
        return found

    monkeypatch.setattr(local.blocks, "_rows", rows)
    after = local.update(nodes)
    assert given[-4:] == [True, True, True, False]  # the last is one node, and filled up
    assert not after.rows.equal(nodes.rows)
    _, apart = training_of(*whole)
    apart.blocks.block = 4
    cut = apart.blocks._cut(0)
    cut.spans[:] = [None] * len(cut.spans)
    assert apart.update(nodes).rows.equal(after.rows)


def test_nodes_before_training_stay_as_they_were():
    world, local = training_of("task.options.model=mlp", "training.momentum=0.9")
    nodes = some_nodes(world)
    before = [tensor.clone() for tensor in (nodes.rows, nodes.ages, nodes.steps, nodes.optimiser_state)]
    local.update(nodes)
    local.update(nodes, torch.arange(len(nodes)) % 3)
    now = (nodes.rows, nodes.ages, nodes.steps, nodes.optimiser_state)
    assert all(one.equal(other) for one, other in zip(before, now, strict=True))


def test_a_gradient_leaves_parameters_alone_and_lets_buffers_see_the_batch():
    world, local = training_of("task.options.model=batchnorm")
    nodes, trainable = some_nodes(world), world.layout.trainable_size
    after, _ = local.gradient(nodes)
    assert after.rows[:, :trainable].equal(nodes.rows[:, :trainable])
    assert not torch.allclose(after.rows[:, trainable:], nodes.rows[:, trainable:])


def test_a_step_along_the_gradient_is_a_training_step():
    world, local = training_of("task.options.model=mlp", "training.schedule=inverse", "training.decay_age=7")
    nodes = some_nodes(world)
    trained, (_, gradients) = local.update(nodes), local.gradient(nodes)
    assert torch.allclose(trained.rows, nodes.rows - local.learning_rates(nodes) * gradients, atol=1e-14)
    expected = world.scenario.training.learning_rate / (1 + nodes.ages.double() / 7)
    assert torch.allclose(local.learning_rates(nodes), expected[:, None])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("model", MODULES)
def test_every_node_does_as_many_steps_as_it_is_told(model, threads):
    world, local = training_of(
        f"task.options.model={model}", "training.momentum=0.5", "training.local_steps=2", threads=threads
    )
    nodes = some_nodes(world)
    steps = torch.arange(len(nodes)) % 5
    after = local.update(nodes, steps)
    local.close()
    for i, count in enumerate(steps.tolist()):
        alone, owner = nodes.select(slice(i, i + 1)), torch.tensor([i]).numpy()
        expected = world.trainer.train(alone, owner, steps=count)[0] if count else alone
        assert torch.allclose(after.rows[i], expected.rows[0], rtol=1e-12, atol=1e-13)
        assert torch.allclose(after.optimiser_state[i], expected.optimiser_state[0], rtol=1e-12, atol=1e-13)
        assert after.ages[i] == nodes.ages[i] + count
        assert after.steps[i] == nodes.steps[i] + count
    assert after.auxiliary["kept"].equal(nodes.auxiliary["kept"])


def test_unless_told_every_node_does_the_local_steps_of_the_settings():
    world, local = training_of("training.local_steps=3", "training.momentum=0.5")
    nodes = some_nodes(world)
    told = local.update(nodes, torch.full((len(nodes),), 3))
    assert local.update(nodes).rows.equal(told.rows)
    assert local.samples.tolist() == world.trainer.data.counts.tolist()


def test_without_training_nothing_changes_and_gradients_are_zero():
    world, local = training_of("training.enabled=false")
    nodes = some_nodes(world)
    after, gradients = local.gradient(nodes)
    assert after is nodes
    assert local.update(nodes) is nodes
    assert gradients.eq(0).all()
    assert gradients.shape == (13, world.layout.trainable_size)


def test_nothing_that_was_handed_in_is_changed():
    world, local = training_of("training.momentum=0.5", "task.options.model=batchnorm")
    nodes = some_nodes(world)
    before = [t.clone() for t in (nodes.rows, nodes.ages, nodes.steps, nodes.optimiser_state)]
    local.update(nodes)
    local.update(nodes, torch.arange(13))
    local.gradient(nodes)
    assert all(
        one.equal(other)
        for one, other in zip(
            before, (nodes.rows, nodes.ages, nodes.steps, nodes.optimiser_state), strict=True
        )
    )


@pytest.mark.parametrize("nodes", [[0, 1, 2, 3, 4, 5, 6, 7], [3, 6], [0, 1, 2, 3, 5, 6, 7, 8, 9], [9]])
def test_only_whole_blocks_of_nodes_that_follow_one_another_are_slices(nodes):
    cut = _Cut.of(np.array(nodes), 4)
    filled = [*nodes, *[nodes[-1]] * (-len(nodes) % 4)]
    assert cut.index.reshape(-1).tolist() == filled
    for index, span in zip(cut.index.tolist(), cut.spans, strict=True):
        distinct_and_consecutive = index == list(range(index[0], index[0] + 4))
        assert (span is not None) == distinct_and_consecutive
        assert span is None or list(range(span.start, span.stop)) == index


@pytest.mark.parametrize(
    "more", ["training.privacy={clip=1.0,noise_multiplier=1.0}", "training.momentum=0.5"]
)
def test_what_is_not_traced_is_the_same_a_few_rows_at_a_time(more, monkeypatch):
    """Noise for all rows at once took more than all else."""
    world, local = training_of(more, f"task.options={{model='{'dropout' if 'momentum' in more else 'mlp'}'}}")
    assert not local.vectorised
    start = some_nodes(world)
    whole = local.update(start)
    taken = []
    train = world.trainer.train

    def noted(nodes, members, **named):
        taken.append(len(members))
        return train(nodes, members, **named)

    monkeypatch.setattr(type(world.trainer), "train", lambda _, *given, **named: noted(*given, **named))
    monkeypatch.setattr("sims.engine.local.NUMBERS_AT_ONCE", 3 * world.layout.size)
    in_parts = local.update(start)
    assert taken and max(taken) <= 3
    assert torch.equal(whole.rows, in_parts.rows) and torch.equal(whole.ages, in_parts.ages)
    assert torch.equal(whole.optimiser_state, in_parts.optimiser_state)
