"""The simulation of a scenario: of messages, or of rounds."""

from __future__ import annotations

from sims.engine.programme import Compile
from sims.running.message_driven import MessageDriven
from sims.running.round_based import RoundBased
from sims.running.simulation import Simulation
from sims.scenario import Scenario
from sims.world import World
from sims.world.networks import NeighbourLists, RoundNetwork

__all__ = ["simulation_of"]


def simulation_of(
    scenario: Scenario,
    world: World,
    *,
    threads: int,
    compile_when: Compile,
    device: str,
    mixing: RoundNetwork | None = None,
    neighbours: NeighbourLists | None = None,
) -> Simulation:
    """Set up the simulation of a scenario.

    Parameters
    ----------
    scenario, world, threads, compile_when, device
        As in `sims.running.run`.
    mixing : RoundNetwork, optional
        Who averages what in rounds; by default as the scenario's topology says.
    neighbours : NeighbourLists, optional
        The same for a message-driven algorithm.

    Raises
    ------
    InvalidScenario, NotSimulable, MalformedTrace
        If its parts do not fit together.
    """
    if scenario.algorithm.in_rounds:
        return RoundBased(
            scenario, world, threads=threads, compile_when=compile_when, device=device, mixing=mixing
        )
    return MessageDriven(
        scenario, world, threads=threads, compile_when=compile_when, device=device, neighbours=neighbours
    )
