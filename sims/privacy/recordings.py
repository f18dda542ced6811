"""Linear runs of recorded peers, from the records in their homes: of those that gossip here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gossipfl.peer.gossip.plan import gossip_algorithm
from gossipfl.peer.store.record_files import record_files
from sims.privacy.errors import NotAccountable
from sims.privacy.events_learned import LearnedEvents, Sent
from sims.privacy.leaving import ROUNDING, changes_in, deviation_of, without_rounding
from sims.privacy.linear_run import LinearRun
from sims.privacy.recorded_rounds import recorded_rounds
from sims.replay.history import Step, history_of
from sims.replay.lives import Life, RecordedPeer, Version, record_lines, required_whole
from sims.replay.peer_records import read_peers
from sims.replay.round_records import learned_in_rounds
from topology.parsing import json_of

__all__ = ["recorded_run"]


def recorded_run(homes: Sequence[Path], *, deviation: float | None = None) -> LinearRun:
    """Find the linear run of peers whose homes are given, one node each, in the order given.

    Its values are the gradients of all training steps. Nodes see the models that they took in, and those that
    their gates refused. What the gates decided counts as given. Of peers in rounds see `recorded_rounds`.

    Parameters
    ----------
    homes : sequence of Path
    deviation : float, optional
        Of noise on rows that leave, instead of all that happened to them.

    Raises
    ------
    NotAccountable
        If the peers did something that is not linear.
    MissingPeer, MissingRecords, TornRecords, DuplicatePeer
        If records are missing or damaged.
    """
    peers = read_peers(homes)
    if learned_in_rounds(peers):
        return recorded_rounds(peers, rounding=ROUNDING, deviation=deviation)
    lives = [life for peer in peers for life in peer.lives.values()]
    _require_alike(lives, whole=deviation is None)
    places = {(life.peer, life.incarnation): place for place, life in enumerate(lives)}
    refused = _refused(peers)
    ends = [Version(life.peer, life.incarnation, life.last) for life in lives]
    events = LearnedEvents(
        gossip_algorithm(lives[0].settings),
        lives[0].settings.training,
        nodes=len(lives),
        enabled=True,
        private_start=False,
        deviations=[
            deviation_of(life.settings.outgoing) if deviation is None else deviation for life in lives
        ],
    )
    _happened(history_of(peers, [*ends, *refused]).steps, events, places, refused)
    return _by_peer(events.finished(), [life.peer for life in lives], [peer.peer for peer in peers])


def _happened(
    steps: Sequence[Step],
    events: LearnedEvents,
    places: Mapping[tuple[str, int], int],
    refused: Mapping[Version, Sequence[tuple[str, int]]],
) -> None:
    """Let all recorded events happen, each start of a peer as a node of its own."""
    reads = Counter(version for step in steps for version in step.reads)
    resumed = {step.source for step in steps if step.event is None}
    kept: dict[Version, Sent] = {}
    for step in steps:
        node = places[step.version[:2]]
        _event(step, events, node, kept)
        for read in step.reads:
            reads[read] -= 1
            if not reads[read]:
                events.forget(kept.pop(read))
        seen_by = refused.get(step.version, ())
        if not reads[step.version] and not seen_by:
            continue
        sent = events.send(node, saved=step.version in resumed)
        for receiver in seen_by:
            events.refused(places[receiver], sent)
        if reads[step.version]:
            kept[step.version] = sent
        else:
            events.forget(sent)


def _event(step: Step, events: LearnedEvents, node: int, kept: Mapping[Version, Sent]) -> None:
    event, source = step.event, None if step.source is None else kept[step.source]
    if event is None:
        if source is not None:
            events.resume(node, source)
        return
    if event.kind == "clock":
        events.clock(node, trains=event.trained)
    elif source is None:
        events.train(node, trains=event.trained)
    elif event.kind == "go_back":
        events.go_back(node, source)
    elif event.kind == "adopt":
        events.adopt(node, source)
    elif step.begun is not None:
        events.answer(node, source, kept[step.begun], trains=event.trained)
    else:
        credited = event.credited_age
        events.receipt(node, source, trains=event.trained, share=event.share, credited_age=credited)
    if events.age(node) != event.age:
        raise NotAccountable(
            f"the age at {step.version} is not the one recorded", expected=event.age, got=events.age(node)
        )


def _require_alike(lives: Sequence[Life], *, whole: bool) -> None:
    first = lives[0].settings
    for life in lives:
        settings, where = life.settings, f"start {life.incarnation} of peer {life.peer}"
        alike = {"seed": first.training.seed}
        if (settings.training.model_copy(update=alike), settings.gossip) != (first.training, first.gossip):
            raise NotAccountable(
                f"{where} learned otherwise than the first peer", expected="the same training and gossip"
            )
        codecs = {event.codec for event in life.events if event.source is not None}
        changed = [
            *without_rounding(codecs, {*ROUNDING, ""}),
            *changes_in(settings.outgoing, "", {*ROUNDING, ""}),
        ]
        if changed and whole:
            raise NotAccountable(
                f"rows of {where}, or of its neighbours, were changed before they left, and not linearly",
                expected="models sent in full or rounded, or with noise",
                got=", ".join(changed),
            )


def _refused(peers: Sequence[RecordedPeer]) -> dict[Version, list[tuple[str, int]]]:
    """Models that gates refused, each with the starts of the peers that saw it."""
    seen: dict[Version, list[tuple[str, int]]] = defaultdict(list)
    for peer in peers:
        for (incarnation, _), path in record_files(peer.home.records).items():
            for _, number, line in record_lines([path]):
                record = json_of(line)
                if record["kind"] != "refusal" or record.get("sender_event") is None:
                    continue
                with required_whole(lambda path=path, number=number: f"{path}:{number}"):  # type: ignore[misc]
                    version = Version(
                        str(record["sender"]), int(record["sender_incarnation"]), int(record["sender_event"])
                    )
                    seen[version].append((peer.peer, incarnation))
    return seen


def _by_peer(run: LinearRun, lives: Sequence[str], peers: Sequence[str]) -> LinearRun:
    """The same run with all starts of a peer as one node."""
    whose = np.array([peers.index(peer) for peer in lives], dtype=np.int64)
    stages = [
        replace(stage, senders=whose[stage.senders], receivers=whose[stage.receivers]) for stage in run.stages
    ]
    return replace(run, nodes=len(peers), owners=whose[run.owners], stages=stages)
