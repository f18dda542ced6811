"""Runs that would not fit into memory: their refusal, and what would fit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from gossipfl.machine import attainable_memory, limits_addresses
from sims.errors import NotEnoughMemory
from sims.running.memory import MemoryEstimate, check_memory, estimate_memory, readable
from sims.scenario import Scenario
from sims.scenario.engine import EngineSection
from sims.world import World

__all__ = ["exhaustion_named", "require_memory", "what_fits"]

logger = logging.getLogger(__name__)

_REFUSED = "allocate memory"  # in what torch says
_CLOSE = 0.9  # of what there is: estimates are right to a tenth


def require_memory(scenario: Scenario, world: World, estimate: MemoryEstimate) -> None:
    """Refuse a run that would not fit into memory, and warn of one that might not.

    Raises
    ------
    NotEnoughMemory
        It says what would fit.
    """
    within = attainable_memory()
    if estimate.total > within:
        check_memory(estimate, within, remedy=what_fits(scenario, world, estimate, within))
    elif estimate.total > _CLOSE * within:
        logger.warning(
            "the run may not fit into memory: it needs %s, a tenth more or less, of %s",
            estimate,
            readable(within),
        )
    elif estimate.total + estimate.compiler > within:
        logger.warning(
            "the C++ compiler may not fit into memory beside the run: it takes some %s, of %s that are left; "
            "with --compile never, programmes are only traced",
            readable(estimate.compiler),
            readable(within - estimate.total),
        )


@contextmanager
def exhaustion_named(estimate: MemoryEstimate) -> Iterator[None]:
    """Name what Python or torch says when the system gives no more memory.

    Raises
    ------
    NotEnoughMemory
    """
    try:
        yield
    except Exception as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        if not isinstance(root, MemoryError | torch.OutOfMemoryError) and _REFUSED not in str(root):
            raise
        raise NotEnoughMemory(
            "the system gave the run no more memory",
            expected=f"{estimate}, a tenth more or less",
            got=f"{readable(attainable_memory())}: {str(root).partition(chr(10))[0]}",
            remedy="End other programs, raise the limit, or simulate fewer nodes.",
        ) from error


def what_fits(scenario: Scenario, world: World, estimate: MemoryEstimate, within: int) -> str:
    """Changes of a scenario, each of which alone makes it fit, or as many nodes as would."""
    ways = [
        f"{name} ({readable(changed.total)})"
        for name, changed in _changed(scenario, world, estimate)
        if changed.total <= within
    ]
    n = scenario.population.nodes
    each = (estimate.rows + estimate.slots + estimate.timeline) / n
    nodes = min(n, int((_CLOSE * within - estimate.total + n * each) / each))
    if nodes >= 2:
        digits = 10 ** max(0, len(str(nodes)) - 2)
        ways.append(f"{nodes // digits * digits:,} nodes")
    if not ways:
        return f"Nothing but more memory, or a smaller model, helps: {estimate.largest} are the most of it."
    return f"What would fit: {', or '.join(ways)}."


def _changed(
    scenario: Scenario, world: World, estimate: MemoryEstimate
) -> Iterator[tuple[str, MemoryEstimate]]:
    """Estimates of the same scenario with other settings."""
    if scenario.precision == "float64":
        yield "precision = 'float32'", replace(estimate, rows=estimate.rows // 2, slots=estimate.slots // 2)
    whole = scenario.gate is None and scenario.attack is None and not scenario.evaluate.layers
    if scenario.algorithm.in_rounds or not whole:
        return
    engine = scenario.engine
    others: list[tuple[str, dict[str, object]]] = [
        ("engine.rows = 'int16'", {"rows": "int16"}),
        ("engine.rows = 'int8'", {"rows": "int8"}),
    ]
    if engine.paged_to is None and not limits_addresses():  # files have addresses, too
        others.append(("engine.paged_to, a directory", {"paged_to": Path("/")}))
    for name, change in others:
        section = EngineSection.model_validate({**engine.model_dump(), **change})
        yield name, estimate_memory(scenario.model_copy(update={"engine": section}), world)
