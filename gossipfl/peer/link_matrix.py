"""Bandwidths from each member to each, as the members have measured them: for matchings over fast links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gossipfl.errors import HomeError

__all__ = ["link_matrix"]

#: By how much the faster of two reports of a link counts beyond the slower one.
_MOST_APART: Final = 4.0
_LARGEST: Final = 1e15  # bytes a second

Values = Mapping[str, Any]


def link_matrix(
    members: Sequence[str], statuses: Sequence[Values], examinations: Sequence[Values | None]
) -> NDArray[np.float64]:
    """Bandwidths in Mbit/s from each member to each, ``[n, n]``; NaN where nobody measured, 0 to itself.

    A link is as fast as the faster of what its sender and its receiver saw: a transfer that waits for something
    else shows less than the link can do, and never more. But it counts for four times the slower one at most: a
    member says what it likes, and not what the other end saw arrive. Large rows have measured it, or the doctor.

    Parameters
    ----------
    members : sequence of str
        Peer ids, in order of their numbers.
    statuses : sequence of mapping
        Of each member, with ``peers``.
    examinations : sequence of mapping or None
        What the doctor saw at each, with ``neighbours``.

    Raises
    ------
    HomeError
        If a member is there twice, or a file of one holds rates that are none.
    """
    numbers = {peer_id: number for number, peer_id in enumerate(members)}
    if len(numbers) < len(members):
        twice = next(each for each in members if members.count(each) > 1)
        raise HomeError(f"{twice} is a member twice", remedy="Name the home of each member once.")
    n = len(members)
    said = np.full((2, n, n), np.nan)  # by the senders, and by the receivers
    for own, (status, examination) in enumerate(zip(statuses, examinations, strict=True)):
        try:
            rates = list(_rates(status, examination))
        except (AttributeError, KeyError, TypeError) as error:
            raise _damaged(own, members, repr(error)) from None
        for peer_id, *ways in rates:
            other = numbers.get(peer_id)
            if other is None or other == own:
                continue
            for side, rate in enumerate(ways):
                if rate is None:
                    continue
                if type(rate) not in (int, float) or not 0 < rate <= _LARGEST:
                    raise _damaged(own, members, repr(rate)[:100])
                place = (side, own, other) if side == 0 else (side, other, own)
                said[place] = np.fmax(said[place], 8e-6 * rate)
    seen: NDArray[np.float64] = np.fmin(np.fmax(*said), _MOST_APART * np.fmin(*said))
    np.fill_diagonal(seen, 0.0)
    return seen


def _rates(status: Values, examination: Values | None) -> Iterator[tuple[str, Any, Any]]:
    """Peer id, bytes a second to it and from it, of all that a member measured."""
    for each in status["peers"]:
        yield str(each["peer_id"]), each.get("upload"), each.get("download")
    for each in () if examination is None else examination["neighbours"]:
        by_doctor = each.get("bandwidth", {})
        up, down = (by_doctor.get(way, {}).get("bytes_per_second") for way in ("upload", "download"))
        yield str(each["peer_id"]), up, down


def _damaged(own: int, members: Sequence[str], got: str) -> HomeError:
    return HomeError(
        f"what member {own}, {members[own][:64]!a}, says of its links cannot be used",
        expected="for each neighbour, bytes per second above 0, or none",
        got=got,
        remedy="Leave it out, or copy its status.json and examination.json again.",
    )
