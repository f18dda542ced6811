"""Memory of an evaluation, against what one of all samples holds."""

import pytest
import torch

from sims.metrics.living import Living, Watching
from sims.running import activations
from sims.running.activations import evaluating_bytes
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
