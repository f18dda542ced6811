"""Threads that draw from torch's global generator do not disturb each other."""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from gossipfl.global_generator import global_generator
from gossipfl.tasks import Dataset, Task


def task() -> Task:
    def data() -> Dataset:
        return Dataset.split(torch.zeros(8, 2), torch.zeros(8, dtype=torch.int64), test=0.5)

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 2))

    return Task(name="wide", model=model, data=data, start="independent")


def test_first_models_made_side_by_side_are_those_made_one_by_one():
    wide = task()
    one_by_one = [wide.initial_row(node) for node in range(24)]
    with ThreadPoolExecutor(8) as pool:
        side_by_side = list(pool.map(wide.initial_row, range(24)))
    assert all(torch.equal(a, b) for a, b in zip(one_by_one, side_by_side, strict=True))


def test_the_generator_is_left_as_it_was():
    before = torch.get_rng_state()
    with global_generator() as generator:
        generator.manual_seed(3)
        torch.randn(5)
    with global_generator(enabled=False):
        pass
    assert torch.equal(torch.get_rng_state(), before)
