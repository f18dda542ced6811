"""Memory of an evaluation, against what one of all samples holds."""

import numpy as np
import pytest
import torch

from gossipfl.training import Nodes
from sims.engine.blocks import block_size
from sims.metrics.living import Living, Watching
from sims.running import activations
from sims.running.activations import evaluating_bytes, training_bytes
from tests.sims.worlds import small, world_of


def test_an_evaluation_of_all_samples_holds_what_a_few_tell(monkeypatch):
    monkeypatch.setattr(activations, "_COPIES", 1)
    world = world_of(small("task.options.model=mlp"))
    living = Living()
    with torch.no_grad(), Watching(living.seen):
        world.task.evaluate(world.first_rows()[:1], world.test_inputs, world.test_targets)
    assert evaluating_bytes(world) == pytest.approx(living.most, rel=0.2)


@pytest.mark.parametrize("samples", [2, 6])
def test_few_samples_do_not_count(samples):
    assert not evaluating_bytes(world_of(small(f"evaluate.samples={samples}")))


def test_what_is_released_is_held_no_more():
    living = Living()
    with Watching(living.seen):
        first = torch.zeros(1000)
        view = first[:10]
        assert living.now == living.most == 4000
        del first
        assert living.now == 4000
        living.paused = True
        torch.zeros(5000)
        living.paused = False
        del view
        assert living.now == 0
        torch.zeros(500)
    assert living.most == 4000


def test_what_the_allocator_keeps_makes_no_room_for_larger_tensors():
    living = Living(kept_below=4000)
    with Watching(living.seen):
        small = [torch.zeros(999) for _ in range(3)]
        assert living.now == living.most == 3 * 3996
        del small
        assert living.now == 0
        again = torch.zeros(999)  # where the first was
        large = torch.zeros(5000)
        assert living.now == 3996 + 20_000
        assert living.most == 3 * 3996 + 20_000
        del again, large
        torch.zeros(5001)
    assert living.most == 3 * 3996 + 20_004


def test_each_thread_computes_a_block():
    world = world_of(small("task.options.model=mlp"))
    assert training_bytes(world, 3) == 3 * training_bytes(world, 1) > 0


@pytest.mark.parametrize("batch", [4, 20])
def test_private_training_holds_what_a_few_nodes_tell(batch):
    world = world_of(
        small(
            "task.options.model=mlp",
            "population.nodes=24",
            "task.samples_per_node=20",
            "evaluate.nodes=2",
            f"training={{batch_size={batch},privacy={{clip=1.0,noise_multiplier=1.0}}}}",
        )
    )
    living, rows = Living(), world.first_rows()[:1].expand(24, -1).contiguous()
    with Watching(living.seen):
        world.trainer.train(Nodes.start(rows), np.arange(24))
    assert training_bytes(world, 1) == training_bytes(world, 2) == pytest.approx(living.most, rel=0.3)


def test_a_step_of_many_numbers_is_counted():
    few, many = (
        training_bytes(world_of(small("task.options.model=mlp", f"training.optimiser='{name}'")), 1)
        for name in ("sgd", "adamw")
    )
    world = world_of(small("task.options.model=mlp"))
    table = (
        block_size(row_bytes=8 * world.layout.size, nodes=5 * world.scenario.population.nodes)
        * world.layout.size
        * 8
    )
    assert many - few == 4 * table
