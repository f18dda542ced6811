"""Bytes that a round holds at a time, against what can be counted by hand, and against a simulation's."""

import pytest
import torch

from gossipfl.algorithms.registry import algorithm_names
from sims.engine import RoundEngine
from sims.metrics.living import Living, Watching
from sims.running import round_bytes as module
from sims.running.round_bytes import round_bytes
from sims.world.networks import round_network
from tests.sims.worlds import small, world_of

NODES = 60
RULES = "trimmed_mean", "krum", "pens"


def scenario_of(*overrides):
    return small(
        f"population.nodes={NODES}",
        "task.samples_per_node=8",
        "stop.rounds=3",
        "task.options.model=mlp",
        *overrides,
    )


LIES = "attack={name='sign_flip',share=0.1}"
ABSENCES = "churn.process={kind='cycle',offline=0.3}"


def rows_of(*overrides):
    """Rows that a round holds for each node."""
    world = world_of(scenario_of(*overrides))
    return round_bytes(world).node / (world.dtype.itemsize * world.layout.size)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("algorithm.name='d_psgd'",), 3),  # before, trained, mixed
        (("algorithm.name='d_psgd'", "training={optimiser='adamw'}"), 7),  # two states of twice the size
        (("algorithm.name='d_psgd'", "training={optimiser='adamw'}", ABSENCES), 9),  # and as after the round
        (("algorithm.name='d_psgd'", LIES), 4),  # and what hostile nodes tell
        (("algorithm.name='trimmed_mean'", LIES), 4),
        (("algorithm.name='fedavg'",), 5),  # what is sent there, with its weight, and what comes back
    ],
)
def test_rows_are_those_that_can_be_counted(overrides, expected):
    assert rows_of(*overrides) == pytest.approx(
        expected, abs=0.5
    )  # ages and numbers of steps, of a small model


@pytest.mark.parametrize(
    "overrides",
    [
        ("algorithm.name='choco'", "algorithm.codec='top:0.1'"),
        ("algorithm.name='gradient_tracking'",),
        ("algorithm={name='d_adam'}", "training.optimiser='sgd'"),
        ("algorithm.name='streaming'", "topology.name='random_matching'"),
        ("algorithm={name='relay_sgd'}", "topology={name='tree',branching=2,depth=5}", "population.nodes=63"),
    ],
)
def test_a_simulation_holds_as_much(overrides):
    scenario = scenario_of(*overrides)
    world, network = world_of(scenario), round_network(scenario)
    living, needed = Living(), round_bytes(world)
    ends = network.sequence.matrix(0).nnz - scenario.population.nodes
    with torch.no_grad(), Watching(living.seen):
        engine = RoundEngine(world, network, compile_when="never")
        for _ in range(3):
            engine.run_round()
    engine.close()
    expected = needed.node * scenario.population.nodes + needed.end * ends
    assert expected == pytest.approx(living.most, rel=0.25)


@pytest.mark.parametrize("name", algorithm_names("rounds"))
def test_every_algorithm_in_rounds_is_rehearsed(name, monkeypatch):
    rehearsed = []

    def noted(*given):
        after = run_round(*given)
        rehearsed.append(name)
        return after

    monkeypatch.setattr(module, "run_round", noted)
    needed = ",degree=4" if name == "epidemic_learning" else ""
    assert rows_of(f"algorithm={{name='{name}'{needed}}}") >= 2
    assert len(rehearsed) >= 3


run_round = module.run_round


def test_small_tables_are_kept_beside_large_ones(monkeypatch):
    # What is released of blocks of 4,096 numbers returns to the system, and of rows it is kept.
    overrides = ("algorithm.name='demo'", "training.optimiser='sgd'")
    monkeypatch.setattr(module, "LARGEST_KEPT", 0)
    returned = rows_of(*overrides)
    monkeypatch.setattr(module, "LARGEST_KEPT", NODES * 4 * 500)
    assert returned + 1 < rows_of(*overrides) < returned + 8
    monkeypatch.setattr(module, "LARGEST_KEPT", NODES * 4 * 20_000)
    assert rows_of(*overrides) == returned  # all are kept: what one released another takes


def test_what_would_not_fit_is_not_rehearsed(monkeypatch):
    monkeypatch.setattr(module, "available_memory", lambda: 100)
    assert rows_of("algorithm.name='choco'") == 3


def test_what_fails_on_four_nodes_is_left_to_the_run(monkeypatch):
    monkeypatch.setattr(module, "run_round", lambda *given: 1 / 0)
    assert rows_of("algorithm.name='choco'") == 3
