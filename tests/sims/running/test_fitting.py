"""Runs that do not fit into memory: what their errors and warnings say."""

import logging
import re

import pytest

from sims.errors import NotEnoughMemory
from sims.running import fitting
from sims.running.fitting import exhaustion_named, require_memory, what_fits
from sims.running.memory import estimate_memory
from sims.world import build_world
from tests.sims.worlds import small

LARGE = "population.nodes=20000", "task={name='digits',samples_per_node=4}", "evaluate.nodes=20"


def estimated(*overrides):
    scenario = small(*LARGE, *overrides)
    world = build_world(scenario)
    return scenario, world, estimate_memory(scenario, world)


def test_what_is_said_to_fit_does():
    scenario, world, whole = estimated()
    within = int(0.75 * whole.total)
    said = what_fits(scenario, world, whole, within)
    assert "int8" in said and "engine.paged_to" in said
    for change in ("engine.rows='int16'", "engine.rows='int8'", "engine.paged_to='/'"):
        fits = estimated(change)[2].total <= within
        assert (change.partition("=")[0] in said) >= fits
        assert (change.replace("=", " = ") in said) == fits or "paged" in change
    nodes = int(re.search(r"([\d,]+) nodes", said)[1].replace(",", ""))
    assert 0.8 * within < estimated(f"population.nodes={nodes}")[2].total <= within


def test_rounds_keep_their_rows_in_full():
    scenario, world, whole = estimated("algorithm={name='d_psgd'}")
    said = what_fits(scenario, world, whole, whole.total - 1)
    assert "engine" not in said and "nodes" in said


def test_in_half_the_precision_rows_take_half():
    scenario, world, whole = estimated("algorithm={name='d_psgd'}", "precision='float64'")
    assert "precision = 'float32'" in what_fits(scenario, world, whole, whole.total - 1)


def test_where_nothing_would_fit_the_largest_part_is_named():
    scenario, world, whole = estimated("population.nodes=10")
    assert "libraries are the most" in what_fits(scenario, world, whole, whole.total // 2)


def test_files_have_addresses_that_a_limit_counts(monkeypatch):
    monkeypatch.setattr(fitting, "limits_addresses", lambda: True)
    scenario, world, whole = estimated()
    assert "paged_to" not in what_fits(scenario, world, whole, whole.total - 1)


def test_a_run_that_may_not_fit_is_warned_of(monkeypatch, caplog):
    scenario, world, whole = estimated("population.nodes=10")
    for within, expected in ((1.2, 0), (1.05, 1)):
        monkeypatch.setattr(fitting, "attainable_memory", lambda within=within: int(within * whole.total))
        with caplog.at_level(logging.WARNING):
            require_memory(scenario, world, whole)
        assert len(caplog.records) == expected
    monkeypatch.setattr(fitting, "attainable_memory", lambda: whole.total - 1)
    with pytest.raises(NotEnoughMemory, match=r"What would fit|libraries"):
        require_memory(scenario, world, whole)


def test_a_compiler_that_may_not_fit_is_warned_of(monkeypatch, caplog):
    scenario, world, _ = estimated("population.nodes=10")
    whole = estimate_memory(scenario, world, compile_when="always")
    monkeypatch.setattr(fitting, "attainable_memory", lambda: int(1.2 * whole.total))
    require_memory(scenario, world, whole)
    assert ["--compile never" in record.message for record in caplog.records] == [True]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_memory_that_is_not_given_is_an_error_of_ours(error):
    whole = estimated("population.nodes=10")[2]
    with pytest.raises(NotEnoughMemory, match=f"no more memory.*{str(error)[:10]}"), exhaustion_named(whole):
        raise ValueError("training failed") from error
    with pytest.raises(RuntimeError, match="another"), exhaustion_named(whole):
        raise RuntimeError("another")
