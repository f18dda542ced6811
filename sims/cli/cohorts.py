"""``gossipfl sim cohorts``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sims.fleet import Measured, Promise

__all__ = ["cohorts"]


def cohorts(
    scenario: Annotated[str, typer.Argument(help="A TOML file, or the name of a ready-made scenario.")],
    *,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Replace a value of the scenario; may be repeated.")
    ] = None,
    cohort: Annotated[int, typer.Option("--cohort", min=1, help="Phones in a round.")] = 2500,
    passes: Annotated[int, typer.Option("--passes", min=1, help="How often each phone takes part.")] = 7,
    clip: Annotated[float, typer.Option("--clip", min=0, help="Largest norm of a phone's update.")] = 1.0,
    rate: Annotated[
        float, typer.Option("--rate", min=0, help="Length of a step along the mean update.")
    ] = 1.0,
    momentum: Annotated[
        float, typer.Option("--momentum", min=0, max=1, help="Momentum of these steps.")
    ] = 0.9,
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", help="ε for all updates of a phone; without it, no noise.")
    ] = None,
    delta: Annotated[
        float | None, typer.Option("--delta", help="δ; n^-1.1 for n phones unless given.")
    ] = None,
    summed: Annotated[
        int,
        typer.Option("--summed", min=1, help="Phones whose updates are seen as one sum; 1: each by itself."),
    ] = 1,
    colluding: Annotated[
        int, typer.Option("--colluding", min=0, help="Phones of a sum whose noise the observer knows.")
    ] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu, or cuda if there is a GPU.")] = "cpu",
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let cohorts of phones improve one model, whose updates are only seen as noisy sums."""
    from sims.fleet import Cohorts, CohortSettings, Promise
    from sims.scenario import load_scenario
    from sims.world import build_world

    world = build_world(load_scenario(scenario, overrides=overrides or ()))
    promised = Promise(
        epsilon=math.inf if epsilon is None else epsilon,
        delta=world.scenario.population.nodes**-1.1 if delta is None else delta,
        takes_part=passes,
        summed=summed,
        colluding=colluding,
    )
    settings = CohortSettings(cohort=cohort, passes=passes, clip=clip, rate=rate, momentum=momentum)
    found = Cohorts(world, settings, promised, device=device)
    every = max(1, found.rounds // passes)
    measured = []
    for each in found.run(every=every):
        measured.append(each)
        if not json_output:
            typer.echo(_line(each))
    if json_output:
        shown = {
            "settings": asdict(settings),
            "promise": {**asdict(promised), "multiplier": promised.multiplier},
            "rounds": found.rounds,
            "measured": [asdict(each) for each in measured],
        }
        typer.echo(json.dumps(shown))
    else:
        typer.echo(_promise(promised))


def _line(measured: Measured) -> str:
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in measured.metrics.items())
    return (
        f"round {measured.round}, pass {measured.passes}: {metrics}; updates {measured.norm:.3g} long, "
        f"{measured.clipped:.0%} clipped, their mean {measured.mean_norm:.3g}, noise {measured.noise_norm:.3g}"
    )


def _promise(promised: Promise) -> str:
    if math.isinf(promised.epsilon):
        return "Nothing is promised: there is no noise."
    return (
        f"({promised.epsilon:g}, {promised.delta:.3g})-private for all {promised.takes_part} updates of a phone, "
        f"to whoever sees sums of {promised.summed} and is {promised.colluding} of them: noise multiplier "
        f"{promised.multiplier:.3f}."
    )
