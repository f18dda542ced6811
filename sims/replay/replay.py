"""Replay of recorded peers, compared with the models they saved."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from gossipfl.peer.store.checkpoint import Checkpoint, load_checkpoint
from sims.replay.accounts import departure_of_account
from sims.replay.batched_replay import replay_batched
from sims.replay.departure import Departure
from sims.replay.errors import MissingCheckpoint
from sims.replay.history import history_of
from sims.replay.learning import Learnings
from sims.replay.lives import Life, RecordedPeer, Version, rounded_otherwise
from sims.replay.peer_records import read_peers
from sims.replay.report import ReplayReport, compare
from sims.replay.round_records import learned_in_rounds
from sims.replay.round_replay import replay_rounds
from sims.replay.row_replay import replay_rows

__all__ = ["BATCHED_TOLERANCE", "replay"]

#: Relative difference that a batched replay may have; what it depends on: docs/tutorials/replay-your-demo.md.
BATCHED_TOLERANCE = 1e-4


def replay(
    homes: Sequence[Path | str], *, batched: bool = False, tolerance: float = BATCHED_TOLERANCE
) -> ReplayReport:
    """Compute the models of real peers again from their records, and compare them with their checkpoints.

    Parameters
    ----------
    homes : sequence of path
        Homes of all peers of a network; peers may still be running.
    batched : bool
        False: event after event, with the functions, batches and threads of the peers; on the same machine
        every bit of a run on the CPU comes out again. True: many events at once, as simulations are computed.
    tolerance : float
        Largest difference of a parameter, relative to the row's largest: where it is batched, or a peer computed
        on an accelerator, since a replay is computed on the CPU.

    Returns
    -------
    ReplayReport

    Raises
    ------
    HomeMissing, MissingRecords, TornRecords, OtherSettings, DuplicatePeer
        If the homes are not those of recorded peers, one each.
    MissingPeer, MissingCheckpoint, OtherTask
        If something the outcome depends on is missing.
    CorruptCheckpoint
        If a checkpoint is damaged.
    """
    peers = read_peers(homes)
    learnings = Learnings(peers)
    saved = {peer.peer: _checkpoint(peer, learnings) for peer in peers}
    if any(peer.home.is_running() for peer in peers):
        peers = read_peers(homes)  # so that the records reach beyond the checkpoints
        learnings = Learnings(peers)
    targets = {
        peer: Version(peer, checkpoint.incarnation, checkpoint.event)
        for peer, checkpoint in saved.items()
        if checkpoint is not None
    }
    if not targets:
        raise MissingCheckpoint(
            "none of the peers has a checkpoint",
            expected=f"a file {peers[0].home.checkpoint}",
            remedy="Let the peers run until they have saved: every checkpoint.period, and at their end.",
        )
    began = time.perf_counter()
    if learned_in_rounds(peers):
        found, events, waves, departure = replay_rounds(peers, learnings, targets.values(), batched=batched)
        lives: Sequence[Life] = [life for peer in peers for life in peer.lives.values()]
        steps, left_out = events.total(), dict.fromkeys(saved, 0)
    else:
        history = history_of(peers, targets.values())
        found, waves, departure = (replay_batched if batched else replay_rows)(history, learnings)
        events = Counter(step.life.peer for step in history.steps if step.event is not None)
        lives, steps, left_out = history.lives, len(history.steps), history.left_out
    seconds = time.perf_counter() - began
    allowed = tolerance if batched or rounded_otherwise(lives) else 0.0
    return ReplayReport(
        batched=batched,
        tolerance=allowed,
        events=events.total(),
        waves=waves,
        seconds=seconds,
        peers=tuple(
            compare(
                saved[peer.peer],
                found[targets[peer.peer]] if peer.peer in targets else None,
                peer=peer,
                events=events[peer.peer],
                left_out=left_out[peer.peer],
                tolerance=allowed,
            )
            for peer in peers
        ),
        notes=tuple(_notes(lives, departure, events=steps, batched=batched, tolerance=allowed)),
    )


def _checkpoint(peer: RecordedPeer, learnings: Learnings) -> Checkpoint | None:
    if not peer.home.checkpoint.exists():
        return None
    learning = learnings.of(next(reversed(peer.lives.values())))
    return load_checkpoint(
        peer.home.checkpoint, learning.task, optimiser_state_size=learning.trainer.optimiser_state_size
    )


def _notes(
    lives: Sequence[Life], departure: Departure | None, *, events: int, batched: bool, tolerance: float
) -> list[str]:
    notes = [
        f"the replay left the decisions of a token account: {left}."
        for life in lives
        if (left := departure_of_account(life)) is not None
    ]
    devices = sorted({f"{life.device} ({life.hardware})" for life in lives if life.device != "cpu"})
    if devices:
        notes.append(
            f"peers computed on {', '.join(devices)}, and this replay on the CPU, which rounds otherwise: models "
            f"agree within {tolerance:g} of their largest parameter, not bit for bit."
        )
    if departure is not None:
        reason = (
            "Until there losses agreed to 1e-4: an input of a ReLU so close to 0 that rounding decided does "
            "that (see docs/tutorials/replay-your-demo.md), or another machine, data, task or "
            "version of the algorithm's file."
            if batched
            else "Another machine, other data, another version of the task or another version of the algorithm's "
            "file do that."
        )
        notes.append(
            f"the replay left the run at {departure.version}, {departure.number + 1} of {events} "
            f"in order: {departure}. {reason}"
        )
    others = {life.torch for life in lives} - {torch.__version__}
    if others:
        notes.append(
            f"the peers used torch {', '.join(sorted(others))}; this is {torch.__version__}, and may round "
            "otherwise."
        )
    return notes
