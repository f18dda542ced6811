"""Memory estimates beside what runs take, each in a process of its own."""

import numpy as np
import pytest

from benchmarks.memory_estimates import measured
from benchmarks.memory_scenarios import READY_MADE, SCENARIOS
from sims.engine.batching import Batching
from sims.running import records
from sims.running.memory import estimate_memory
from sims.running.records import digest_of
from sims.world import build_world
from tests.sims.worlds import small

QUICK = "perceptron, 10,000 nodes, push-sum"
LARGE = "55 numbers, 1,000,000 nodes, 8-regular, messages"  # minutes


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == QUICK else pytest.mark.slow)
        for name in [*SCENARIOS, *READY_MADE]
        if name != LARGE
    ],
)
def test_an_estimate_is_within_a_tenth(name):
    found = measured(name)
    assert found == {when: (pytest.approx(taken, rel=0.1), taken) for when, (_, taken) in found.items()}


def test_what_an_earlier_run_traced_is_not_traced_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    scenario = small()
    world = build_world(scenario)
    first = estimate_memory(scenario, world)
    assert Batching.of(world).holds
    later = estimate_memory(scenario, build_world(scenario))
    assert 50e6 < first.base - later.base == first.total - later.total < 100e6
    another = small("algorithm.merge='UM'")
    assert estimate_memory(another, build_world(another)).base == first.base


def test_what_is_compiled_takes_libraries_and_a_compiler_beside():
    scenario = small("task.options.model=mlp")
    world = build_world(scenario)
    never, always, auto = (
        estimate_memory(scenario, world, compile_when=when) for when in ("never", "always", "auto")
    )
    assert never.compiler == auto.compiler == 0 < always.compiler
    assert 20e6 < always.base - never.base == always.total - never.total < 100e6
    assert "C++ compiler" in str(always)
    long = small("task.options.model=mlp", "stop.rounds=10000000.0")
    assert estimate_memory(long, world).compiler == always.compiler
    private = small("training.privacy={clip=1.0,noise_multiplier=1.0}", "stop.rounds=10000000.0")
    assert estimate_memory(private, build_world(private), compile_when="always").compiler == 0


def test_windows_of_which_two_are_in_memory_are_counted_twice():
    overrides = "population.nodes=1000", "task.samples_per_node=1", "stop.rounds=1000.0"
    for every, twice in ((1000.0, True), (10.0, False)):
        scenario = small(*overrides, f"evaluate.every={every}")
        world = build_world(scenario)
        alone, shared = (estimate_memory(scenario, world, threads=count).timeline for count in (1, 2))
        assert (1.6 * alone < shared < 2 * alone) if twice else shared == alone
        assert estimate_memory(scenario, world, threads=2, compile_when="never").timeline == alone


def test_a_hash_takes_rows_a_few_at_a_time(monkeypatch):
    both = np.arange(70, dtype=np.float32).reshape(7, 10)
    ages = np.arange(7)
    expected = digest_of([both[:, :4].copy()], ages)
    monkeypatch.setattr(records, "_BYTES_AT_ONCE", 40)
    assert digest_of([both[:, :4]], ages) == expected != digest_of([both[:, 1:5]], ages)
