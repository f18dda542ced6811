"""Calibration: a scenario that behaves like a recorded run of real peers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gossipfl.algorithms.file_form import settings_of
from gossipfl.peer.gossip.plan import gossip_algorithm
from gossipfl.settings import PeerSettings
from gossipfl.settings.codec_names import AUTO
from gossipfl.tasks import find_task
from sims.calibration.estimators import (
    delay_of_exchanges,
    estimate_clock,
    loss_of_exchanges,
    step_time,
)
from sims.calibration.observations import Observations, Session, observe
from sims.errors import SimulationError
from sims.replay.errors import KeyboardSealed
from sims.replay.lives import RecordedPeer, usual_codec
from sims.replay.peer_records import read_peers
from sims.replay.round_records import learned_in_rounds
from sims.scenario import Scenario

__all__ = ["Calibration", "NothingObserved", "calibrate", "numbered"]

_ABSENT_SHARE_UNCOUNTED = 0.05  # that a peer may miss without counting as churn
_LIKE_UNIFORM = 0.9  # share of the pairs that a uniform choice would have brought together


class NothingObserved(SimulationError):
    """The records hold too little to estimate from."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A scenario, the estimates behind it, and where it differs from the run.

    Parameters
    ----------
    scenario : Scenario
        Without churn and with everybody a neighbour of everybody: files say otherwise where they must.
    sessions : tuple of Session
        When each node was online; empty if all were, all the time.
    edges : tuple of (int, int)
        The links used; empty where anybody seems to have talked to anybody.
    estimates : dict
        Names of estimates to (value, number of observations).
    notes : tuple of str
    """

    scenario: Scenario
    sessions: tuple[Session, ...]
    edges: tuple[tuple[int, int], ...]
    estimates: dict[str, tuple[float, int]]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Say it, an estimate or note a line."""
        said = [
            f"{name} = {value:.4g} ({observations} observations)"
            for name, (value, observations) in self.estimates.items()
        ]
        return [*said, *(f"Note: {note}" for note in self.notes)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "estimates": {
                name: {"value": value, "observations": observations}
                for name, (value, observations) in self.estimates.items()
            },
            "notes": list(self.notes),
            "scenario": self.scenario.model_dump(mode="json"),
        }


def calibrate(homes: Sequence[Path | str]) -> Calibration:
    """Estimate a scenario from the homes of a network's peers.

    Parameters
    ----------
    homes : sequence of path

    Returns
    -------
    Calibration

    Raises
    ------
    HomeMissing, MissingRecords, TornRecords, OtherSettings, DuplicatePeer
        If the homes are not those of recorded peers, one each.
    KeyboardSealed
        If they trained on what their owners typed.
    NothingObserved
        If fewer than two peers were named, or they never exchanged models.
    InvalidScenario
        If the result is not a valid scenario.
    """
    peers = numbered(read_peers(homes))
    if len(peers) < 2:
        raise NothingObserved("one peer is not a network", expected="the homes of all its peers")
    if learned_in_rounds(peers):
        raise NothingObserved(
            "these peers learned in rounds, and a calibrated scenario is one of gossip",
            expected="homes of peers that gossiped",
            remedy="`gossipfl sim replay` computes their rounds again; a scenario with their [algorithm] and "
            "[topology] simulates them.",
        )
    observed = observe(peers)
    if not any(len(each) for each in observed.intervals) or not len(observed.round_trips):
        raise NothingObserved(
            "the peers hardly exchanged models",
            expected="at least two exchanges of a peer, and one that succeeded",
            got=f"{observed.exchanges} exchanges",
            remedy="Let them run longer.",
        )
    settings, notes = _common_settings(peers)
    codec = settings.codec
    if codec == AUTO:
        codec = usual_codec(life for peer in peers for life in peer.lives.values())
        notes.append(f"each link had a codec of its own; {codec}, the usual one, is used for all")
    answered = settings.exchange.mode != "push"
    period, jitter, period_sigma = estimate_clock(observed.intervals)
    intervals = sum(len(own) for own in observed.intervals)
    median, sigma = delay_of_exchanges(observed.round_trips)
    loss = loss_of_exchanges(observed.failed, observed.reachable, answered=answered)
    busy = step_time(observed.work, observed.gaps)
    task, seed, more = _task(peers)
    churned = _churned(observed, peers)
    edges = _edges(observed, len(peers))
    rounds = observed.seconds / period
    scenario = Scenario.model_validate(
        {
            "name": "calibrated",
            "seed": seed,
            "population": {"nodes": len(peers)},
            "task": task,
            "algorithm": _algorithm(settings, codec),
            "outgoing": [each.model_dump() for each in settings.outgoing if each.kind != "codec"],
            "training": {**settings.training.model_dump(), "step_seconds": busy},
            "network": {
                "period": period,
                "jitter": jitter,
                "period_sigma": period_sigma,
                "delay": {"kind": "lognormal", "median": median, "sigma": sigma}
                if sigma > 1e-3
                else {"kind": "constant", "seconds": median},
                "loss": loss,
                "choose": "online" if churned and observed.knows_who_is_there else "any",
            },
            **_gate(settings),
            "evaluate": {"every": max(1.0, round(rounds / 20))},
            "stop": {"rounds": rounds},
        }
    )
    return Calibration(
        scenario=scenario,
        sessions=observed.sessions if churned else (),
        edges=edges,
        estimates={
            "network.period": (period, intervals),
            "network.jitter": (jitter, intervals),
            "network.period_sigma": (period_sigma, len(observed.intervals)),
            "network.delay.median": (median, len(observed.round_trips)),
            "network.delay.sigma": (sigma, len(observed.round_trips)),
            "network.loss": (loss, observed.reachable),
            "training.step_seconds": (busy, len(observed.work) or len(observed.gaps)),
        },
        notes=(*notes, *more),
    )


def numbered(peers: list[RecordedPeer]) -> list[RecordedPeer]:
    """Peers in the order of the nodes they become: by index of their part of the data, or by number."""
    lives = [next(reversed(peer.lives.values())) for peer in peers]
    indices: list[Any] = [life.settings.task.options.get("index") for life in lives]
    for places in (indices, [life.number for life in lives]):
        if all(isinstance(each, int) for each in places) and len(set(places)) == len(places):
            return [peer for _, peer in sorted(zip(places, peers, strict=True), key=lambda pair: pair[0])]
    return peers


def _common_settings(peers: list[RecordedPeer]) -> tuple[PeerSettings, list[str]]:
    """The settings of most peers, and notes on what that leaves out."""
    notes = []
    each = [next(reversed(peer.lives.values())).settings for peer in peers]
    kinds = Counter((own.training, own.gossip, own.exchange.mode) for own in each)
    chosen, count = kinds.most_common(1)[0]
    if count < len(each):
        notes.append(
            f"training and merging differ among the peers; those of {count} of them are used for all"
        )
    settings = next(own for own in each if (own.training, own.gossip, own.exchange.mode) == chosen)
    if settings.exchange.merges_per_training > 1:
        notes.append(
            f"the peers train after every {settings.exchange.merges_per_training} merges, simulated nodes "
            "after each: models age faster in the simulation"
        )
    if any(len(peer.lives) > 1 for peer in peers):
        notes.append("a killed peer goes back to its checkpoint; a simulated node keeps its model")
    return settings, notes


def _algorithm(settings: PeerSettings, codec: str) -> dict[str, Any]:
    """The peers' algorithm as a section of a scenario."""
    parameters = settings_of(gossip_algorithm(settings))
    if "codec" in parameters and codec != "float32":
        parameters["codec"] = codec
    return {"name": settings.gossip.algorithm, **parameters}


def _gate(settings: PeerSettings) -> dict[str, Any]:
    """The peers' gate as a section of a scenario."""
    can_have_one = gossip_algorithm(settings).behaviour.lost == "lost"
    return (
        {"gate": settings.gate_in_force.model_dump(exclude_none=True)}
        if settings.gate.enabled and can_have_one
        else {}
    )


def _task(peers: list[RecordedPeer]) -> tuple[dict[str, Any], int, list[str]]:
    """Task section, seed of the scenario, and notes."""
    lives = [next(reversed(peer.lives.values())) for peer in peers]
    for life in lives:
        if life.settings.keyboard.enabled:
            raise KeyboardSealed.of(life.peer)
    settings = [life.settings.task for life in lives]
    options = [dict(each.options) for each in settings]
    first, n = options[0], len(peers)
    alike = {key: value for key, value in first.items() if all(own.get(key) == value for own in options)}
    if alike.get("peers") == n and [own.get("index") for own in options] == list(range(n)):
        # The factory divides a pool as the bundled tasks do: the scenario divides it, with the same seed.
        pooled = {**alike, "peers": 1, "index": 0, "partition": "iid"}
        seed = int(alike.get("seed", 0))
        scheme = str(alike.get("partition", "iid"))
        return {"name": settings[0].name, "options": pooled, "partition": scheme}, seed, []
    samples = find_task(settings[0].name, first).dataset().samples
    differing = sorted(set().union(*options) - set(alike))
    note = (
        f"the peers' data differ by their options ({', '.join(differing) or 'none'}), which no scenario can "
        f"say: every node draws {samples} samples of the first peer's. Name a task of all the data instead."
    )
    section = {"name": settings[0].name, "options": first, "samples_per_node": samples}
    return section, 0, [note]


def _churned(observed: Observations, peers: list[RecordedPeer]) -> bool:
    online = [0.0] * len(peers)
    for session in observed.sessions:
        online[session.node] += session.end - session.start
    missing = min(online) < (1 - _ABSENT_SHARE_UNCOUNTED) * observed.seconds
    return missing or any(len(peer.lives) > 1 for peer in peers)


def _edges(observed: Observations, n: int) -> tuple[tuple[int, int], ...]:
    """Links that were used, unless choosing among all others uniformly would have given them."""
    tries = observed.tries
    expected = sum(1 - (1 - 1 / (n - 1)) ** (tries[i] + tries[j]) for i in range(n) for j in range(i + 1, n))
    found = tuple(sorted(observed.pairs))
    return () if len(found) >= _LIKE_UNIFORM * expected else found
