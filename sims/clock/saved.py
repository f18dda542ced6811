"""Rounds under way, and those that nobody has asked for yet, as plain values and arrays for checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from sims.clock.attendance import Attending
from sims.clock.outcome import MissingRows, RoundTimes
from sims.clock.pairs import Pairs
from sims.clock.plain import Arrays
from sims.clock.profile import RoundProfile
from sims.clock.under_way import RoundUnderWay

__all__ = ["Source", "restored_rounds", "saved_rounds"]


class Source(Protocol):
    """Something that a clock asks, and that changes with time."""

    def state(self) -> Arrays:
        """All that changes."""
        ...

    def restore(self, state: Arrays) -> None:
        """Continue from a state."""
        ...


def saved_rounds(
    under_way: Mapping[int, RoundUnderWay], finished: Mapping[int, RoundTimes], n: int
) -> tuple[list[Any], Arrays]:
    """Write rounds.

    Parameters
    ----------
    under_way, finished : mapping
        By the number of the round.
    n : int
        Nodes.

    Returns
    -------
    plain : list
        One of those under way and one of those finished.
    arrays : dict
        ``ends`` float64, ``away`` and ``idle`` bool, ``side`` int64: ``[R, n]``, of all R rounds in this order.
    """
    plain = [
        [
            (
                *(number, each.profile.plain(), each.left, each.missing, each.resting),
                *(list(each.at_server.items()), each.first_end),
            )
            for number, each in under_way.items()
        ],
        [
            (number, [(m.receivers.tolist(), m.senders.tolist(), m.unsent) for m in each.missing])
            for number, each in finished.items()
        ],
    ]
    every: list[RoundUnderWay | RoundTimes] = [*under_way.values(), *finished.values()]
    attending = [each.attending for each in every]
    return plain, {
        "ends": np.array([each.ends for each in every], dtype=np.float64).reshape(-1, n),
        "away": np.array([each.away for each in attending], dtype=np.bool_).reshape(-1, n),
        "idle": np.array([each.idle for each in attending], dtype=np.bool_).reshape(-1, n),
        "side": np.array([each.side for each in attending], dtype=np.int64).reshape(-1, n),
    }


def restored_rounds(
    plain: list[Any], arrays: Arrays, pairs: Callable[[RoundProfile, int], list[Pairs]]
) -> tuple[dict[int, RoundUnderWay], dict[int, RoundTimes]]:
    """Read rounds; pairs of nodes are those of a round's profile and number."""
    saved_under_way, saved_finished = plain
    ends = np.array(arrays["ends"], dtype=np.float64)
    attending = [
        Attending(away=away, side=side, idle=idle)
        for away, side, idle in zip(
            np.array(arrays["away"], dtype=np.bool_),
            np.array(arrays["side"], dtype=np.int64),
            np.array(arrays["idle"], dtype=np.bool_),
            strict=True,
        )
    ]
    under_way, finished = {}, {}
    for place, (number, profile, left, missing, resting, at_server, first_end) in enumerate(saved_under_way):
        known = RoundProfile.of_plain(profile)
        under_way[number] = RoundUnderWay(
            profile=known,
            pairs=pairs(known, number),
            attending=attending[place],
            ends=ends[place],
            left=left,
            missing=[[(receiver, sender) for receiver, sender in each] for each in missing],
            resting=resting,
            at_server=dict(at_server),
            first_end=first_end,
        )
    for place, (number, missing) in enumerate(saved_finished, start=len(saved_under_way)):
        finished[number] = RoundTimes(
            ends=ends[place],
            attending=attending[place],
            missing=tuple(
                MissingRows(
                    receivers=np.array(receivers, dtype=np.int64),
                    senders=np.array(senders, dtype=np.int64),
                    unsent=unsent,
                )
                for receivers, senders, unsent in missing
            ),
        )
    return under_way, finished
