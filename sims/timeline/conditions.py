"""What a timeline is drawn from: the numbers of a scenario as plain scalars and arrays, times in whole ticks.

A tick is a nanosecond. Whole numbers keep the order of events the same on every machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sims.errors import InvalidScenario, MalformedTrace
from sims.scenario.network import (
    ChurnSection,
    ConstantDelay,
    CycleChurn,
    Lengths,
    LognormalDelay,
    MatrixDelay,
    NetworkSection,
    SessionChurn,
    TraceChurn,
    UniformDelay,
)
from sims.scenario.scenario import GossipLearningSection, Scenario
from sims.timeline.draws import HOST, SPEED, below, lognormal, uniform

__all__ = ["TICKS_PER_SECOND", "Conditions", "conditions_of", "ticks"]

TICKS_PER_SECOND = 1_000_000_000

PUSH, PULL, PUSH_PULL = range(3)
PROACTIVE, SIMPLE, GENERALIZED, RANDOMIZED = range(4)
WHOLE, PARTITIONED, SUBSAMPLED = range(3)
CONSTANT, UNIFORM, LOGNORMAL, MATRIX = range(4)
SESSIONS_LOGNORMAL, SESSIONS_WEIBULL = range(2)
COMES, GOES, DROP, RETURN, SPLIT, HEAL, JOIN = range(7)


class Conditions(NamedTuple):
    """All that decides who sends what to whom when; nothing in it depends on the values of models.

    ``indices`` is empty where every node may talk to every other.
    """

    seed: int
    n: int
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    periods: NDArray[np.int64]
    jitter: float
    together: bool
    exchange: int
    flow: int
    capacity: int
    reserve: int
    sharing: int
    parts: int
    delay_kind: int
    delay_first: float
    delay_second: float
    hosts: NDArray[np.int32]
    one_way: NDArray[np.float64]
    transmit: int
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

    @property
    def accounts(self) -> int:
        """Token accounts of each node: one, or one for each part of a partitioned model."""
        return self.parts if self.sharing == PARTITIONED else 1

    @property
    def period(self) -> int:
        """Mean period of the fastest node, in ticks."""
        return int(self.periods.min())


def ticks(seconds: float) -> int:
    """Whole ticks in a number of seconds."""
    return int(np.floor(seconds * TICKS_PER_SECOND + 0.5))


def conditions_of(
    scenario: Scenario, *, indptr: NDArray[np.int64], indices: NDArray[np.int32], message_bytes: int
) -> Conditions:
    """Draw up the conditions of a scenario with a message-driven algorithm.

    Parameters
    ----------
    scenario : Scenario
    indptr, indices : ndarray
        Neighbours of each node as compressed sparse rows; ``indices`` empty for a complete graph.
    message_bytes : int
        Size of a message, which bandwidth turns into time.

    Raises
    ------
    MalformedTrace
        If a file the scenario names is not in its format.
    InvalidScenario
        If parts of the scenario contradict one another.
    """
    algorithm = scenario.algorithm
    if not isinstance(algorithm, GossipLearningSection):
        raise InvalidScenario("timelines are for message-driven algorithms", came=algorithm.name)
    if algorithm.flow.kind != "proactive" and algorithm.exchange != "push":
        raise InvalidScenario(
            "token accounts decide when models are pushed",
            expected="exchange = 'push'",
            came=algorithm.exchange,
            remedy="Use flow.kind = 'proactive' with pull and push-pull.",
        )
    if algorithm.sharing.kind != "whole" and algorithm.merge != "MU":
        raise InvalidScenario(
            "parts of models can be merged, and not replace whole models",
            expected="merge = 'MU' with partitioned or subsampled sharing",
            came=algorithm.merge,
        )
    n, network = scenario.population.nodes, scenario.network
    delay_kind, first, second, one_way = _delay_of(network)
    bits = 8 * message_bytes
    period = ticks(network.period)
    periods = np.full(n, period, dtype=np.int64)
    if network.period_sigma:
        for i in range(n):
            drawn = lognormal(uniform(scenario.seed, SPEED, i, 0), float(period), network.period_sigma)
            periods[i] = max(1, int(np.floor(drawn + 0.5)))
    hosts = np.zeros(n if delay_kind == MATRIX else 1, dtype=np.int32)
    if delay_kind == MATRIX:
        hosts[:] = [below(scenario.seed, HOST, i, 0, len(one_way)) for i in range(n)]
    return Conditions(
        seed=scenario.seed,
        n=n,
        indptr=np.ascontiguousarray(indptr, dtype=np.int64),
        indices=np.ascontiguousarray(indices, dtype=np.int32),
        periods=periods,
        jitter=network.jitter,
        together=network.phase == "together",
        exchange=("push", "pull", "push-pull").index(algorithm.exchange),
        flow=("proactive", "simple", "generalized", "randomized").index(algorithm.flow.kind),
        capacity=algorithm.flow.capacity,
        reserve=algorithm.flow.reserve,
        sharing=("whole", "partitioned", "subsampled").index(algorithm.sharing.kind),
        parts=algorithm.sharing.parts,
        delay_kind=delay_kind,
        delay_first=first,
        delay_second=second,
        hosts=hosts,
        one_way=one_way,
        transmit=0 if network.bandwidth is None else ticks(bits / (network.bandwidth * 1e6)),
        loss=network.loss,
        step=ticks(scenario.training.step_seconds),
        online_only=network.choose == "online",
        **_churn_of(scenario.churn, n, period),
    )


def _delay_of(network: NetworkSection) -> tuple[int, float, float, NDArray[np.float64]]:
    none = np.zeros((1, 1))
    match network.delay:
        case ConstantDelay(seconds=seconds):
            return CONSTANT, float(ticks(seconds)), 0.0, none
        case UniformDelay(low=low, high=high):
            return UNIFORM, float(ticks(low)), float(ticks(high)), none
        case LognormalDelay(median=median, sigma=sigma):
            return LOGNORMAL, float(ticks(median)), sigma, none
        case MatrixDelay(file=file):
            return MATRIX, 0.0, 0.0, _read_round_trips(file) * (TICKS_PER_SECOND / 2000)


def _read_round_trips(file: Path) -> NDArray[np.float64]:
    """Round-trip times in milliseconds, shape ``[hosts, hosts]``."""
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                matrix = arrays["rtt"].astype(np.float64)
        else:
            matrix = np.loadtxt(file, delimiter=",", dtype=np.float64, ndmin=2)
    except FileNotFoundError as error:
        raise MalformedTrace(
            f"network.delay.file: there is no {file}", remedy="Paths are relative to the scenario's folder."
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise MalformedTrace(
            f"network.delay.file: {file} holds no round-trip times ({error})",
            expected="an .npz with an array 'rtt', or a .csv without header; square, milliseconds",
        ) from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise MalformedTrace(
            f"network.delay.file: {file} is not square", expected="[hosts, hosts]", came=matrix.shape
        )
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise MalformedTrace(
            f"network.delay.file: {file} has negative or missing round-trip times",
            remedy="Fill or drop the hosts concerned first.",
        )
    return matrix


def _churn_of(churn: ChurnSection, n: int, period: int) -> dict[str, Any]:
    process, plan = churn.process, []
    starts_offline = isinstance(process, TraceChurn)
    if isinstance(process, TraceChurn):
        plan += _read_sessions(process.file, n)
    for event in churn.events:
        action = {"drop": DROP, "return": RETURN, "split": SPLIT, "heal": HEAL, "join": JOIN}[event.action]
        value = event.fraction or event.parts or event.nodes or (2 if event.action == "split" else 0)
        plan.append((int(np.floor(event.at * period + 0.5)), action, float(value)))
    plan.sort(key=lambda entry: entry[0])
    sessions = process if isinstance(process, SessionChurn) else None
    online_law, online_median, online_spread = _law_of(sessions.online if sessions else None)
    offline_law, offline_median, offline_spread = _law_of(sessions.offline if sessions else None)
    return {
        "cycle_offline": process.offline if isinstance(process, CycleChurn) else 0.0,
        "sessions": sessions is not None,
        "online_law": online_law,
        "online_median": online_median,
        "online_spread": online_spread,
        "offline_law": offline_law,
        "offline_median": offline_median,
        "offline_spread": offline_spread,
        "day": float(ticks(sessions.day)) if sessions else 1.0,
        "night": sessions.night if sessions else 0.0,
        "starts_offline": starts_offline,
        "joining": sum(event.nodes or 0 for event in churn.events),
        "plan_times": np.array([entry[0] for entry in plan], dtype=np.int64),
        "plan_actions": np.array([entry[1] for entry in plan], dtype=np.int64),
        "plan_values": np.array([entry[2] for entry in plan], dtype=np.float64),
    }


def _law_of(lengths: Lengths | None) -> tuple[int, float, float]:
    if lengths is None:
        return SESSIONS_LOGNORMAL, 1.0, 1.0
    law = SESSIONS_LOGNORMAL if lengths.distribution == "lognormal" else SESSIONS_WEIBULL
    return law, float(ticks(lengths.median)), lengths.spread


def _read_sessions(file: Path, n: int) -> list[tuple[int, int, float]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedTrace(f"churn.process.file: {file} cannot be read: {error}") from error
    lines = text.splitlines()
    if not lines or lines[0].replace(" ", "") != "node,start,end":
        raise MalformedTrace(
            f"{file}:1: not an availability trace",
            expected="the header node,start,end",
            came=repr(lines[0]) if lines else "an empty file",
        )
    plan: list[tuple[int, int, float]] = []
    last_end: dict[int, float] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            node_text, start_text, end_text = line.split(",")
            node, start, end = int(node_text), float(start_text), float(end_text)
        except ValueError as error:
            raise MalformedTrace(
                f"{file}:{number}: not a session", expected="NODE,START,END in seconds", came=repr(line)
            ) from error
        if not 0 <= node < n:
            raise MalformedTrace(f"{file}:{number}: no such node", expected=f"0 … {n - 1}", came=node)
        if not 0 <= start < end < 1e9:
            raise MalformedTrace(f"{file}:{number}: a session ends after it starts", came=(start, end))
        if start < last_end.get(node, 0.0):
            raise MalformedTrace(
                f"{file}:{number}: sessions of node {node} overlap",
                expected=f"a start at or after {last_end[node]}",
                came=start,
                remedy="List each node's sessions in order of time.",
            )
        last_end[node] = end
        plan += [(ticks(start), COMES, float(node)), (ticks(end), GOES, float(node))]
    return plan
