"""The clock of a scenario that runs in rounds, if anything in it takes time or goes wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.algorithms import Links as LinkEnds
from gossipfl.algorithms import RoundAlgorithm
from gossipfl.outgoing import Pipeline
from sims.clock.attendance import Attendance
from sims.clock.circumstances import Circumstances
from sims.clock.profile import Rehearsal
from sims.clock.round_clock import RoundClock
from sims.compiler.timeline.delays import CONSTANT, LOGNORMAL, MATRIX, UNIFORM, Delays, delays_of
from sims.compiler.timeline.draws import DELAY, JITTER, LOSS, lognormal, uniform
from sims.compiler.timeline.links import links_of
from sims.compiler.timeline.speeds import step_seconds
from sims.compiler.timeline.traces import TICKS_PER_SECOND
from sims.errors import NotSimulable
from sims.scenario import Scenario
from sims.scenario.network import ConstantDelay, NoChurn
from sims.world import World
from sims.world.networks import RoundNetwork

__all__ = ["clock_of", "failures_of"]

#: Of the deadline of a masked sum, until which rows may arrive; and round trips after them, as in peers.
_MASKED_SHARE = 0.75
_CONFIRMATIONS = 2


def clock_of(
    world: World,
    network: RoundNetwork,
    algorithm: RoundAlgorithm,
    *,
    outgoing: Pipeline,
    links: LinkEnds | None,
) -> RoundClock | None:
    """Make the clock of a scenario; None if rounds take no time but their period.

    Parameters
    ----------
    world : World
    network : RoundNetwork
    algorithm : RoundAlgorithm
        As for these models and members.
    outgoing : Pipeline
    links : Links, optional
        The ends of all links in the first round, if the algorithm requires them.

    Raises
    ------
    NotSimulable
        If the algorithm cannot be without a row, or messages are lost that would be waited for without end.
    """
    scenario = world.scenario
    section, training = scenario.network, scenario.training
    fails = failures_of(scenario)
    takes_time = {
        "network.delay": section.delay != ConstantDelay(),
        "network.bandwidth": section.bandwidth is not None,
        "network.links": section.links is not None,
        "training.step_seconds": training.step_seconds > 0,
    }
    is_masked = scenario.masked_sums is not None
    is_timed = any(takes_time.values())
    if section.deadline is not None and not is_timed and not section.loss:
        raise NotSimulable("network.deadline: nothing takes time or is lost, so it would be without effect")
    if section.jitter and is_timed and not training.step_seconds:
        raise NotSimulable(
            "network.jitter: training takes no time, so it would be without effect",
            expected="training.step_seconds, which varies by that much, or no links and delays",
        )
    if not (fails or is_timed or section.jitter):
        return None
    _refuse_what_cannot_fail(scenario, algorithm, fails)
    data = world.trainer.data
    seed, numbers = scenario.seed, data.numbers.tolist()
    delays = delays_of(section, seed=seed, numbers=numbers)

    everybody = torch.arange(len(numbers))

    def participants(number: int) -> NDArray[np.bool_] | None:
        drawn = algorithm.participants(everybody, seed=seed, number=number)
        return None if drawn is None else drawn.numpy()

    def pace(node: int, number: int) -> float:
        if not section.jitter:
            return 1.0
        return 1 + section.jitter * (2 * float(uniform(seed, JITTER, node, number)) - 1)

    rehearsal = Rehearsal(
        algorithm,
        layout=world.layout,
        settings=training,
        samples=int(np.ceil(data.counts.mean())),
        seed=seed,
        outgoing=outgoing,
        optimiser_state_size=world.trainer.optimiser_state_size,
        links=None if links is None else _of_one_node(links),
    )
    attendance = Attendance(scenario, numbers, participants)
    around = Circumstances(
        links=links_of(section, seed=seed, numbers=numbers),
        step_seconds=step_seconds(scenario, numbers),
        travel=_travel(delays, seed),
        to_server=_to_server(delays, len(numbers)),
        is_lost=lambda sender, number: (
            section.loss > 0 and bool(uniform(seed, LOSS, sender, number) < section.loss)
        ),
        attending=attendance.at,
        deadline=math.inf
        if section.deadline is None
        else section.deadline * (_MASKED_SHARE if is_masked else 1),
        confirmations=_CONFIRMATIONS if is_masked else 0,
        period=section.period,
        least=(lambda node, number: 0.0) if is_timed else (lambda n, r: section.period * pace(n, r)),
        pace=pace,
    )
    return RoundClock(
        network, around, rehearsal.next, sources={"rehearsal": rehearsal, "attendance": attendance}
    )


def failures_of(scenario: Scenario) -> list[str]:
    """Keys of a scenario in rounds by which rows do not arrive."""
    present = {
        "network.loss": scenario.network.loss > 0,
        "network.deadline": scenario.network.deadline is not None,
        "churn": not isinstance(scenario.churn.process, NoChurn) or bool(scenario.churn.events),
    }
    return [name for name, there in present.items() if there]


def _refuse_what_cannot_fail(scenario: Scenario, algorithm: RoundAlgorithm, fails: list[str]) -> None:
    name, needs = scenario.algorithm.name, algorithm.requirements
    if not fails:
        return
    if scenario.network.loss > 0 and scenario.network.deadline is None:
        raise NotSimulable(
            "network.loss: in rounds a node would wait without end for a row that is lost, so without a deadline "
            "network.loss would be without effect",
            expected="network.deadline, in seconds",
        )
    reason = None
    if needs.links:
        reason = f"{name} needs the rows of all, and what peers do without them is not simulated"
    elif algorithm.simulator_only is not None and not needs.server:
        reason = f"{name}: {algorithm.simulator_only}"
    elif needs.server and fails != ["churn"]:
        reason = f"{name}: a server waits for all who are there, and hears them"
    if reason is not None:
        raise NotSimulable(f"{', '.join(fails)}: {reason}", remedy="Leave them out, or choose d_psgd.")


def _travel(delays: Delays, seed: int) -> Callable[[int, int, int], float]:
    first, second = delays.first / TICKS_PER_SECOND, delays.second / TICKS_PER_SECOND
    if delays.kind == CONSTANT:
        return lambda sender, receiver, number: first
    if delays.kind == MATRIX:
        hosts, one_way = delays.hosts.tolist(), delays.one_way / TICKS_PER_SECOND
        return lambda sender, receiver, number: float(one_way[hosts[sender], hosts[receiver]])
    if delays.kind == UNIFORM:
        return lambda sender, receiver, number: (
            first + float(uniform(seed, DELAY, sender, number)) * (second - first)
        )
    return lambda sender, receiver, number: float(
        lognormal(uniform(seed, DELAY, sender, number), first, delays.second)
    )


def _to_server(delays: Delays, n: int) -> NDArray[np.float64]:
    """A server is as far from a node as the other nodes are on average."""
    if delays.kind == MATRIX:
        return delays.one_way[np.ix_(delays.hosts, delays.hosts)].mean(axis=1) / TICKS_PER_SECOND
    mean = (delays.first + delays.second) / 2 if delays.kind == UNIFORM else delays.first
    if delays.kind == LOGNORMAL:
        mean = delays.first * math.exp(delays.second**2 / 2)
    return np.full(n, mean / TICKS_PER_SECOND)


def _of_one_node(links: LinkEnds) -> LinkEnds:
    """The ends of the first node's links, for it alone."""
    own = links.owner == 0
    return LinkEnds(
        owner=torch.zeros(int(own.sum()), dtype=torch.int64),
        neighbours=links.neighbours[own].cpu(),
        weights=links.weights[own].cpu(),
    )
