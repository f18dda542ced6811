"""Memory of libraries: what every run loads, what tracing and compiling load, and what the C++ compiler takes."""

from __future__ import annotations

from torch import nn

from gossipfl.kernels.building import has_compiler
from sims.compiler.timeline import event_loop_was_compiled
from sims.engine.batching import Batching
from sims.engine.programme import Compile
from sims.scenario import Scenario
from sims.world import World

__all__ = ["FIRST_BYTES", "SMALLEST_BYTES", "compiler_bytes", "library_bytes"]

_LIBRARY_BYTES = 441_000_000  # Python, torch, numba
_TRACING_BYTES = 95_000_000  # torch's tracing and sympy, where no earlier run has kept what it traced
_EVENT_LOOP_BYTES = 45_000_000
_COMPILING_BYTES = 190_000_000  # of the event loop, which is kept for later runs
_ATTACK_BYTES = 40_000_000
_INDUCTOR_BYTES = 60_000_000  # what makes C++ of traced programmes
_COMPILED_BYTES = 30_000_000  # what loads programmes that an earlier run has compiled
_COMPILER_BYTES = 500_000_000  # of g++ or clang++, which read torch's headers: a process of its own

SMALLEST_BYTES = _LIBRARY_BYTES + _TRACING_BYTES + _EVENT_LOOP_BYTES
FIRST_BYTES = SMALLEST_BYTES + _COMPILING_BYTES + _ATTACK_BYTES
"""Of a first run on a machine."""

_UPDATE_SECONDS, _OPERATIONS_A_SECOND = 2e-5, 2e10  # of traced training, roughly
_LONG = 30.0  # seconds of it


def library_bytes(scenario: Scenario, world: World, compile_when: Compile) -> int:
    """Bytes of the libraries that a run loads."""
    known = Batching.is_known(world)
    found = _LIBRARY_BYTES + (0 if known else _TRACING_BYTES)
    if not scenario.algorithm.in_rounds:
        found += _EVENT_LOOP_BYTES
        found += _COMPILING_BYTES if event_loop_was_compiled() else 0
    if _compiles(scenario, world, compile_when):
        found += _COMPILED_BYTES if known else _INDUCTOR_BYTES
    return found + (_ATTACK_BYTES if scenario.attack is not None else 0)


def compiler_bytes(scenario: Scenario, world: World, compile_when: Compile) -> int:
    """Bytes of the C++ compiler beside the run's own, before the first round; 0 if nothing is compiled."""
    return _COMPILER_BYTES if _compiles(scenario, world, compile_when) and not Batching.is_known(world) else 0


def _compiles(scenario: Scenario, world: World, compile_when: Compile) -> bool:
    """Whether programmes will be compiled, as far as that can be told before the first is timed."""
    training = scenario.training
    if compile_when == "never" or not has_compiler() or training.privacy is not None or not training.enabled:
        return False
    if compile_when == "always":
        return True
    convolutions = nn.Conv1d, nn.Conv2d, nn.Conv3d
    if any(isinstance(part, convolutions) for part in world.task.build_module().modules()):
        return False
    updates = scenario.population.nodes * scenario.stop.rounds * training.local_steps
    arithmetic = 6 * training.batch_size * world.layout.trainable_size
    return updates * (_UPDATE_SECONDS + arithmetic / _OPERATIONS_A_SECOND) > _LONG
