"""Linear runs of scenarios and of recorded runs, by their paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from gossipfl.codecs import FLOAT32
from gossipfl.outgoing import Pipeline
from gossipfl.outgoing.noise import GaussianNoise
from sims.privacy.errors import NotAccountable
from sims.privacy.linear_run import LinearRun
from sims.privacy.recordings import recorded_run
from sims.privacy.rounds import round_run
from sims.privacy.sampling import (
    PrivateTraining,
    private_training_of_homes,
    private_training_of_scenario,
)
from sims.privacy.timelines import message_run
from sims.scenario import Scenario, load_scenario
from sims.scenario.outgoing import outgoing_of, outgoing_of_messages
from sims.world import build_world
from sims.world.networks import round_network

__all__ = [
    "homes_of",
    "one_scenario",
    "private_training_of",
    "run_of",
    "run_of_scenario",
    "scenario_at",
]


def run_of(
    sources: Sequence[str],
    *,
    overrides: Sequence[str] = (),
    on_progress: Callable[[float], None] = lambda rounds: None,
) -> LinearRun:
    """Find the linear run of a scenario, or of the peers whose homes are given."""
    homes = homes_of(sources, overrides=overrides)
    if homes:
        return recorded_run(homes)
    return run_of_scenario(one_scenario(sources, overrides=overrides), on_progress=on_progress)


def homes_of(sources: Sequence[str], *, overrides: Sequence[str] = ()) -> list[Path]:
    """Homes of peers among sources, each of which is one or holds them; none if they are a scenario.

    Raises
    ------
    NotAccountable
        If a recorded run is to be changed.
    """
    homes = [home for source in sources for home in _homes_in(Path(source))]
    if homes and overrides:
        raise NotAccountable("a recorded run is as it was", got=f"--set {overrides[0]}")
    return homes


def one_scenario(sources: Sequence[str], *, overrides: Sequence[str] = ()) -> Scenario:
    """Read the only source, a scenario."""
    if len(sources) > 1:
        raise NotAccountable("one scenario, or one simulated run, at a time", got=", ".join(sources))
    return scenario_at(sources[0], overrides=overrides)


def private_training_of(sources: Sequence[str], *, overrides: Sequence[str] = ()) -> PrivateTraining | None:
    """Find the private training that a scenario, or recorded peers, declare; None if they declare none."""
    homes = homes_of(sources)
    if homes:
        return private_training_of_homes(homes)
    return private_training_of_scenario(scenario_at(sources[0], overrides=overrides))


def _homes_in(directory: Path) -> list[Path]:
    """Homes of peers: the directory itself, or those in it."""
    if (directory / "peer.toml").exists():
        return [directory]
    return sorted(file.parent for file in directory.glob("*/peer.toml"))


def scenario_at(path: Path | str, *, overrides: Sequence[str] = ()) -> Scenario:
    """Read the scenario of a file, of a name, or of the directory of a simulated run."""
    file = Path(path) / "scenario.toml"
    return load_scenario(file if file.exists() else path, overrides=overrides)


def run_of_scenario(
    scenario: Scenario,
    *,
    deviation: float | None = None,
    on_progress: Callable[[float], None] = lambda rounds: None,
) -> LinearRun:
    """Find the linear run of a scenario.

    With training, its values are the gradients of all steps; without, the rows that nodes start from.

    Parameters
    ----------
    scenario : Scenario
    deviation : float, optional
        Of noise on rows that leave, instead of all that happens to them.
    on_progress : callable, optional
        Told how many rounds are done.

    Raises
    ------
    NotAccountable
        If what the nodes do is not linear, or nothing in it is private.
    """
    world = build_world(scenario)
    private_start = world.task.start == "independent" and not scenario.training.enabled
    if not private_start and not scenario.training.enabled:
        raise NotAccountable(
            "all nodes start from the same model and none trains, so nothing is private",
            remedy="Set training.enabled = true, or choose a task in which each node starts from its own.",
        )
    if scenario.attack is not None:
        raise NotAccountable(
            "hostile nodes do not send what the algorithm says", remedy="Leave the table [attack] out."
        )
    in_rounds = scenario.algorithm.in_rounds
    pipeline = (
        outgoing_of(scenario)
        if in_rounds
        else outgoing_of_messages(scenario, world.message_algorithm.behaviour)
    )
    if deviation is not None:
        noise = (GaussianNoise(deviation),) if deviation else ()
        pipeline = Pipeline(transformations=noise)
    changed = [each.name for each in pipeline.transformations if not isinstance(each, GaussianNoise)]
    if pipeline.codec not in (None, FLOAT32):
        changed.append(pipeline.codec.name)
    if changed:
        raise NotAccountable(
            "rows are changed before they leave, and not linearly",
            expected="rows sent in full, or with noise",
            got=", ".join(changed),
            remedy="Leave out clips, masks and codecs.",
        )
    if not in_rounds:
        every = math.hypot(*(each.deviation for each in pipeline.noise))
        return message_run(world, private_start=private_start, deviation=every, on_time=on_progress)
    return round_run(
        scenario,
        round_network(scenario, class_counts=world.class_counts),
        samples=world.trainer.data.counts,
        private_start=private_start,
        outgoing=pipeline,
        on_round=on_progress,
    )
