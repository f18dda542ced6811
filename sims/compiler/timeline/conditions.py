"""Conditions of a timeline: the numbers of a scenario as plain scalars and arrays, times in whole ticks.

A tick is a nanosecond. Whole numbers keep the order of events the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gossipfl.algorithms import Behaviour, MessageAlgorithm
from sims.compiler.operations import operation_on
from sims.compiler.timeline.charging import charging_sessions
from sims.compiler.timeline.delays import CONSTANT, LOGNORMAL, MATRIX, UNIFORM, delays_of
from sims.compiler.timeline.draws import SPEED, lognormal, uniform
from sims.compiler.timeline.links import links_of
from sims.compiler.timeline.traces import TICKS_PER_SECOND, read_sessions, ticks
from sims.errors import InvalidScenario
from sims.scenario.network import (
    ChargingChurn,
    CycleChurn,
    Lengths,
    SessionChurn,
    TraceChurn,
)
from sims.scenario.scenario import Scenario

__all__ = [
    "CONSTANT",
    "LOGNORMAL",
    "MATRIX",
    "TICKS_PER_SECOND",
    "UNIFORM",
    "Churn",
    "Conditions",
    "churn_of",
    "conditions_of",
    "ticks",
]

PUSH, PULL, PUSH_PULL = range(3)
WHOLE, PARTITIONED, SUBSAMPLED, DRAWN = range(4)
SESSIONS_LOGNORMAL, SESSIONS_WEIBULL = range(2)
COMES, GOES, DROP, RETURN, SPLIT, HEAL, JOIN = range(7)


class Churn(NamedTuple):
    """When nodes are there: of `Conditions`, what decides that, times in ticks."""

    seed: int
    n: int
    online_law: int
    online_median: float
    online_spread: float
    offline_law: int
    offline_median: float
    offline_spread: float
    cycle_offline: float
    sessions: bool
    day: float
    night: float
    starts_offline: bool
    joining: int
    plan_times: NDArray[np.int64]
    plan_actions: NDArray[np.int64]
    plan_values: NDArray[np.float64]


class Conditions(NamedTuple):
    """Everything that decides who sends what to whom and when; none of it depends on the values of models.

    ``indices`` is empty where every node may talk to every other; ``trains`` is the operation in which nodes
    train, and ``returns`` says whether lost models go back to their senders. Where ``sharing`` is DRAWN, models
    are sent whole, and each message has a number that what is drawn for it on its way out depends on. With
    ``notes_arrivals`` a model that waits for its receiver to train is noted when it arrives, too.

    A message is ``bits`` long and takes ``transmit`` to leave; or, where nodes have links of their own, as long as
    the slowest of ``uplinks``, ``downlinks`` and ``paths`` between hosts needs (bits per second, empty without
    links). The first two are multiplied by the ``changes`` under way: rows of since, until, every (ticks; 0 for
    once), a factor, and for each node whether it is concerned.

    Where token accounts answer useful messages (``compares_ages``), the ages of models are known, too: on receipt
    a model takes the received age (``takes_ages``) or the larger of the two, and training adds ``trained_steps``.
    """

    seed: int
    n: int
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    periods: NDArray[np.int64]
    jitter: float
    together: bool
    trains: int
    returns: bool
    exchange: int
    flow: int
    capacity: int
    reserve: int
    compares_ages: bool
    takes_ages: bool
    trained_steps: int
    sharing: int
    parts: int
    delay_kind: int
    delay_first: float
    delay_second: float
    hosts: NDArray[np.int32]
    one_way: NDArray[np.float64]
    transmit: int
    bits: float
    uplinks: NDArray[np.float64]
    downlinks: NDArray[np.float64]
    paths: NDArray[np.float64]
    link_hosts: NDArray[np.int32]
    changes: NDArray[np.float64]
    loss: float
    step: int
    online_only: bool
    cycle_offline: float
    sessions: bool
    online_law: int
    online_median: float
    online_spread: float
    offline_law: int
    offline_median: float
    offline_spread: float
    day: float
    night: float
    starts_offline: bool
    joining: int
    plan_times: NDArray[np.int64]
    plan_actions: NDArray[np.int64]
    plan_values: NDArray[np.float64]
    notes_arrivals: bool = False

    @property
    def accounts(self) -> int:
        """Token accounts of each node: one, or one for each part of a partitioned model."""
        return self.parts if self.sharing == PARTITIONED else 1

    @property
    def period(self) -> int:
        """Mean period of the fastest node, in ticks."""
        return int(self.periods.min())


def conditions_of(
    scenario: Scenario,
    *,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    message_bytes: int,
    numbers: NDArray[np.int64] | None = None,
) -> Conditions:
    """Draw up the conditions of a scenario with a message-driven algorithm.

    Parameters
    ----------
    scenario : Scenario
    indptr, indices : ndarray
        Neighbours of each node as compressed sparse rows; ``indices`` empty for a complete graph.
    message_bytes : int
        Size of a message, which bandwidth turns into time.
    numbers : ndarray, optional
        The number by which each node's own speed and place are drawn, int64 ``[n]``; by default its own.

    Raises
    ------
    MalformedTrace
        If a file the scenario names is not in its format.
    InvalidScenario
        If parts of the scenario contradict one another.
    """
    algorithm = scenario.algorithm.build()
    if not isinstance(algorithm, MessageAlgorithm):
        raise InvalidScenario("timelines are for message-driven algorithms", got=scenario.algorithm.name)
    n, network = scenario.population.nodes, scenario.network
    if network.deadline is not None:
        raise InvalidScenario(
            f"network.deadline is for rounds, and {scenario.algorithm.name!r} is message-driven",
            remedy="Leave it out.",
        )
    bits = 8 * message_bytes
    period = ticks(network.period)
    periods = np.full(n, period, dtype=np.int64)
    drawn_as = list(range(n)) if numbers is None else numbers.tolist()
    if network.period_sigma:
        for i, number in enumerate(drawn_as):
            drawn = lognormal(uniform(scenario.seed, SPEED, number, 0), float(period), network.period_sigma)
            periods[i] = max(1, int(np.floor(drawn + 0.5)))
    delays = delays_of(network, seed=scenario.seed, numbers=drawn_as)
    return Conditions(
        seed=scenario.seed,
        n=n,
        indptr=np.ascontiguousarray(indptr, dtype=np.int64),
        indices=np.ascontiguousarray(indices, dtype=np.int32),
        periods=periods,
        jitter=network.jitter,
        together=network.phase == "together",
        delay_kind=delays.kind,
        delay_first=delays.first,
        delay_second=delays.second,
        hosts=delays.hosts,
        one_way=delays.one_way,
        transmit=0 if network.bandwidth is None else ticks(bits / (network.bandwidth * 1e6)),
        bits=float(bits),
        **_links_of(scenario, drawn_as),
        loss=network.loss,
        step=ticks(scenario.training.step_seconds),
        online_only=network.choose == "online",
        **_traffic_of(algorithm.behaviour, transformed=bool(scenario.outgoing)),
        **_ages_of(algorithm.behaviour, scenario),
        **_but_seed_and_n(churn_of(scenario, drawn_as)),
    )


def _links_of(scenario: Scenario, numbers: list[int]) -> dict[str, Any]:
    """Speeds of links, where nodes have links of their own."""
    section = scenario.network.links
    if section is None:
        none = np.zeros(0)
        no_hosts, no_changes = np.zeros(0, dtype=np.int32), np.zeros((0, 4))
        return {
            "uplinks": none,
            "downlinks": none,
            "paths": np.zeros((1, 1)),
            "link_hosts": no_hosts,
            "changes": no_changes,
        }
    of_rounds = [("shared", bool(section.shared)), ("both_ways", section.both_ways < 1)]
    for name in (name for name, given in of_rounds if given):
        raise InvalidScenario(
            f"network.links.{name} is for rounds: message-driven algorithms give each message its path to itself",
            remedy="Leave it out, or choose an algorithm that runs in rounds.",
        )
    links = links_of(scenario.network, seed=scenario.seed, numbers=numbers)
    times = np.array([[*(ticks(each) for each in change.times), change.factor] for change in links.changes])
    concerned = np.array([change.nodes for change in links.changes])
    return {
        "uplinks": links.up,
        "downlinks": links.down,
        "paths": links.paths,
        "link_hosts": links.hosts,
        "changes": np.hstack([times, concerned]) if links.changes else np.zeros((0, 4)),
    }


def _traffic_of(behaviour: Behaviour, *, transformed: bool) -> dict[str, Any]:
    """Who sends what, and at which event."""
    (kind, capacity, reserve), sharing = behaviour.flow.numbers, behaviour.sharing
    part = ("whole", "partitioned", "subsampled").index(sharing.kind)
    if part == WHOLE and (transformed or behaviour.codec is not None):
        part = DRAWN
    return {
        "trains": operation_on(behaviour.trains),
        "returns": behaviour.lost == "returned",
        "exchange": ("push", "pull", "push-pull").index(behaviour.exchange),
        "flow": kind,
        "capacity": capacity,
        "reserve": reserve,
        "sharing": part,
        "parts": sharing.parts,
    }


def _ages_of(behaviour: Behaviour, scenario: Scenario) -> dict[str, Any]:
    """Whether messages depend on the ages of models, and how these change."""
    compares = behaviour.flow.compares_ages
    if compares and (behaviour.ages == "decided" or scenario.gate is not None or scenario.attack):
        reason = "[gate]" if scenario.gate is not None else "[attack]" if scenario.attack else "acceptance"
        raise InvalidScenario(
            f"with {reason}, ages depend on what is in the models, and so would all that token accounts send",
            got='flow.useful = "not_older"',
            remedy='Set flow.useful = "all", or leave one of the two out.',
        )
    training = scenario.training
    return {
        "compares_ages": compares,
        "takes_ages": behaviour.ages == "received",
        "trained_steps": training.local_steps if training.enabled else 0,
    }


Changes = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _but_seed_and_n(churn: Churn) -> dict[str, Any]:
    return {name: value for name, value in churn._asdict().items() if name not in {"seed", "n"}}


def churn_of(scenario: Scenario, numbers: Sequence[int], *, until: float | None = None) -> Churn:
    """Draw up when the nodes of a scenario are there.

    Parameters
    ----------
    scenario : Scenario
    numbers : sequence of int
        The number by which each node is drawn.
    until : float, optional
        Seconds for which phones are needed that come to charge; by default the scenario's rounds as periods.

    Raises
    ------
    MalformedTrace
        If the file of sessions is not in its format.
    """
    period = ticks(scenario.network.period)
    until = scenario.stop.rounds * scenario.network.period if until is None else until
    churn = scenario.churn
    process = churn.process
    changes = [_presence(scenario, np.array(numbers), until)]
    for event in churn.events:
        action = {"drop": DROP, "return": RETURN, "split": SPLIT, "heal": HEAL, "join": JOIN}[event.action]
        value = event.fraction or event.parts or event.nodes or (2 if event.action == "split" else 0)
        at = int(np.floor(event.at * period + 0.5))
        changes.append(_changes(np.array([at]), action, np.array([value])))
    times, actions, values = (np.concatenate(column) for column in zip(*changes, strict=True))
    order = np.argsort(times, kind="stable")
    sessions = process if isinstance(process, SessionChurn) else None
    return Churn(
        seed=scenario.seed,
        n=scenario.population.nodes,
        **_law_of("online", sessions.online if sessions else None),
        **_law_of("offline", sessions.offline if sessions else None),
        cycle_offline=process.offline if isinstance(process, CycleChurn) else 0.0,
        sessions=sessions is not None,
        day=float(ticks(sessions.day)) if sessions else 1.0,
        night=sessions.night if sessions else 0.0,
        starts_offline=isinstance(process, TraceChurn | ChargingChurn),
        joining=sum(event.nodes or 0 for event in churn.events),
        plan_times=times[order],
        plan_actions=actions[order],
        plan_values=values[order],
    )


def _presence(scenario: Scenario, numbers: NDArray[np.int64], until: float) -> Changes:
    """Comings and goings of nodes that are known in advance."""
    process, n = scenario.churn.process, len(numbers)
    sessions = np.zeros((3, 0), dtype=np.int64)
    if isinstance(process, TraceChurn):
        sessions = np.array(read_sessions(process.file, n), dtype=np.int64).reshape(-1, 3).T
    elif isinstance(process, ChargingChurn):
        sessions = np.stack(charging_sessions(process, seed=scenario.seed, numbers=numbers, until=until))
    node, start, end = sessions
    both = _changes(start, COMES, node), _changes(end, GOES, node)
    times, actions, values = (np.stack(column, axis=1).reshape(-1) for column in zip(*both, strict=True))
    return times, actions, values


def _changes(times: NDArray[np.int64], action: int, values: NDArray[np.int64]) -> Changes:
    return times.astype(np.int64), np.full(len(times), action, dtype=np.int64), values.astype(np.float64)


def _law_of(state: str, lengths: Lengths | None) -> dict[str, Any]:
    law, median, spread = SESSIONS_LOGNORMAL, 1.0, 1.0
    if lengths is not None:
        law = SESSIONS_LOGNORMAL if lengths.distribution == "lognormal" else SESSIONS_WEIBULL
        median, spread = float(ticks(lengths.median)), lengths.spread
    return {f"{state}_law": law, f"{state}_median": median, f"{state}_spread": spread}
