"""Noise on the values of recorded peers, as the settings in their homes declare it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gossipfl.rounds.plan import round_algorithm
from gossipfl.settings import PeerSettings
from sims.privacy.declared import declared_noise
from sims.privacy.errors import NotAccountable
from sims.privacy.leaving import ROUNDING, Leaving, leaving_of, without_rounding
from sims.privacy.value_noise import ValueNoise
from sims.replay.lives import RecordedPeer
from sims.replay.peer_records import read_peers

__all__ = ["leaving_of_homes", "values_of_homes"]


def leaving_of_homes(homes: Sequence[Path]) -> Leaving:
    """Find what happened to rows as they left recorded peers.

    Raises
    ------
    NotAccountable
        If it was not the same at all, and not linear.
    """
    lives = [life for peer in read_peers(homes) for life in peer.lives.values()]
    found = []
    for life in lives:
        codecs = {event.codec for event in life.events if event.source is not None}
        sent = without_rounding(codecs, {*ROUNDING, ""})
        codec = life.settings.codec if not sent else sent[0]
        found.append(leaving_of(life.settings.outgoing, codec, rounding={*ROUNDING, "", "auto"}))
    if any(each.changes for each in found) and any(each != found[0] for each in found):
        raise NotAccountable(
            "rows of some peers were changed before they left, in another way than those of others",
            expected="the same tables [[outgoing]] and codec at all peers",
            got=", ".join(sorted({name for each in found for name in each.changes})),
        )
    return found[0] if found else leaving_of((), "")


def values_of_homes(
    homes: Sequence[Path], *, is_alone: bool, noise: float | None = None, sensitivity: float | None = None
) -> ValueNoise:
    """Find how far data move the gradients of recorded peers, and the noise on these.

    Parameters
    ----------
    homes : sequence of Path
        In the order of the nodes.
    is_alone, noise, sensitivity
        As for `declared_noise`.

    Raises
    ------
    NotAccountable
        If peers' settings say different things of it, or there are starts without a record of their samples.
    """
    peers = read_peers(homes)
    settings = [life.settings for peer in peers for life in peer.lives.values()]
    if any(_declared(each) != _declared(settings[0]) for each in settings):
        raise NotAccountable(
            "peers, or starts of one peer, clipped and noised their gradients differently",
            expected="the same training.privacy, clip_norm and parameters of the rounds everywhere",
        )
    first = settings[0]
    in_rounds = first.rounds.algorithm is not None
    return declared_noise(
        first.training,
        round_algorithm(first) if in_rounds else None,
        samples=np.array([_samples(peer, first) for peer in peers], dtype=np.int64),
        trains=True,
        is_alone=is_alone,
        noise=noise,
        sensitivity=sensitivity,
    )


def _declared(settings: PeerSettings) -> tuple[object, ...]:
    training, rounds = settings.training, settings.rounds
    privacy = training.privacy
    kept = None if privacy is None else privacy.model_copy(update={"epsilon": None, "delta": 1e-5})
    parameters = {name: each for name, each in rounds.parameters.items() if name not in ("epsilon", "delta")}
    return kept, training.clip_norm, training.batch_size, rounds.algorithm, parameters


def _samples(peer: RecordedPeer, settings: PeerSettings) -> int:
    """How many samples a peer had; the fewest if they became more, because data then move a gradient most."""
    privacy = settings.training.privacy
    counts = {data.samples for life in peer.lives.values() for data in life.data}
    if privacy is None:
        return 1
    if not counts:
        raise NotAccountable(f"peer {peer.peer} did not record how many samples it trained on")
    if privacy.sampling == "cyclic" and len(counts) > 1:
        raise NotAccountable(
            f"peer {peer.peer} had more samples later, so the same ones were at other places of its cycles",
            expected="cyclic batches of the same samples throughout",
            got=", ".join(map(str, sorted(counts))),
        )
    return min(counts)
