"""Checks of every point of a sweep before anything runs: its scenario, its parts together, its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gossipfl.errors import GossipflError
from gossipfl.machine import available_memory
from sims.errors import InvalidSweep, NotEnoughMemory, NotSimulable
from sims.running.choice import simulation_of
from sims.running.memory import MemoryEstimate, estimate_memory
from sims.scenario import Scenario
from sims.sweeping.jobs import run_id
from sims.sweeping.plans import search_of
from sims.sweeping.points import Point, scenario_at
from sims.sweeping.settings import Sweep
from sims.sweeping.workers import Room
from sims.world import World, build_world
from topology.spelling import did_you_mean

__all__ = ["Checked", "check"]

_QUANTITIES = ("mean", "std", "min", "max", "q05", "q25", "median", "q75", "q95")
_COUNTED = ("round", "seconds", "bytes", "messages", "updates", "consensus_distance", "age_mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A point that was tried.

    Parameters
    ----------
    point : Point
    memory : MemoryEstimate, optional
        Memory that one of its runs needs.
    refusal : str, optional
        Why it cannot be simulated.
    """

    point: Point
    memory: MemoryEstimate | None = None
    refusal: str | None = None


def check(
    sweep: Sweep,
    points: Sequence[Point],
    *,
    room: Room,
    on_checked: Callable[[int], None] = lambda done: None,
) -> list[Checked]:
    """Try every point with the first seed.

    Parameters
    ----------
    sweep : Sweep
    points : sequence of Point
    room : Room
        Memory that runs will have.
    on_checked : callable
        Told how many points have been tried.

    Returns
    -------
    list of Checked
        In the order of the points; refused points only where the sweep records them.

    Raises
    ------
    InvalidScenario, InvalidSweep, NotSimulable, TaskError, SettingError
        If a point is wrong; the error names it and its values.
    NotEnoughMemory
        If that many runs would not fit into memory together.
    """
    scenarios = [scenario_at(sweep, point, seed=sweep.seeds[0]) for point in points]
    _refuse_the_same_twice(points, scenarios)
    checked = []
    for number, (point, scenario) in enumerate(zip(points, scenarios, strict=True), start=1):
        checked.append(_tried(sweep, point, scenario))
        on_checked(number)
    _check_memory(sweep, checked, room)
    return checked


def _tried(sweep: Sweep, point: Point, scenario: Scenario) -> Checked:
    try:
        if sweep.tune is not None:
            search_of(sweep, scenario)
        world = build_world(scenario)
        _check_metric(sweep, world)
        memory = estimate_memory(scenario, world)
        if memory.total > available_memory():  # setting it up could fail: the error below is the better one
            return Checked(point=point, memory=memory)
        simulation_of(scenario, world, threads=1, compile_when="never", device="cpu").close()
    except NotSimulable as error:
        if sweep.impossible == "record":
            return Checked(point=point, refusal=str(error))
        remedy = 'Or record such points and go on: impossible = "record".'
        raise NotSimulable(f"{point}: {error}", remedy=remedy) from error
    except GossipflError as error:
        raise type(error)(f"{point}: {error}") from error
    return Checked(point=point, memory=memory)


def _check_metric(sweep: Sweep, world: World) -> None:
    known = {f"{name}_{quantity}" for name in ("loss", *world.task.metrics) for quantity in _QUANTITIES}
    if sweep.metric not in known | set(_COUNTED):
        raise InvalidSweep(
            f"metric: runs of {world.task.name!r} do not record {sweep.metric!r}",
            expected=f"one of {', '.join(sorted(known | set(_COUNTED)))}",
            remedy=did_you_mean(sweep.metric, known | set(_COUNTED)),
        )


def _refuse_the_same_twice(points: Sequence[Point], scenarios: Sequence[Scenario]) -> None:
    seen: dict[str, Point] = {}
    for point, scenario in zip(points, scenarios, strict=True):
        run = run_id(scenario)
        if run in seen:
            raise InvalidSweep(f"{seen[run]} and {point} are the same scenario", remedy="Leave one out.")
        seen[run] = point


def _check_memory(sweep: Sweep, checked: Sequence[Checked], room: Room) -> None:
    """Compare the largest runs that could run in parallel with the memory they would share."""
    known = [(c.point, c.memory) for c in checked if c.memory is not None]
    sizes = sorted((memory.total for _, memory in known for _ in sweep.seeds), reverse=True)
    jobs, available = room.shared_by, room.size
    if available is None or sum(sizes[:jobs]) <= available:
        return
    point, memory = max(known, key=lambda entry: entry[1].total)
    fitting = max((n for n in range(1, jobs) if sum(sizes[:n]) <= available), default=0)
    raise NotEnoughMemory(
        f"{min(jobs, len(sizes))} runs side by side would not fit into memory",
        expected=f"{room.where} at most {available / 2**30:.1f} GiB",
        got=f"{memory} for each run of {point}",
        remedy=f"Use --jobs {fitting}." if fitting else "Simulate fewer nodes, or a smaller model.",
    )
