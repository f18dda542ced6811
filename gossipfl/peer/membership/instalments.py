"""Everything that a member knows about its network, in messages of limited size."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final

from gossipfl.membership import Authority, Signed
from gossipfl.recent import RecentMap

__all__ = ["Instalments", "newest_that_fit"]

_MOST_STATEMENTS: Final = 60
_MOST_BYTES: Final = 48 * 1024
_MOST_MEMBERS: Final = 1024


class Instalments:
    """Tells each other member all statements in turn, as many in each message as fit.

    Rotations come first, oldest first, since each is verified by the keys of the previous one. After the last
    statement it begins again, so a member that stays in touch misses nothing, however much there is: it needs as
    many messages as all statements fill. Revocations are in an order of this peer's own, so several members tell a
    newcomer different ones.
    """

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._order: list[int] = []
        self._told: RecentMap[str, int] = RecentMap(_MOST_MEMBERS)
        self._epoch = authority.epoch

    def next_for(self, member: str, *, now: float) -> list[Signed]:
        """Return the next statements that others can verify, none of them twice."""
        authority = self._authority
        self._update()
        revocations = authority.revocations
        lasting = [
            *authority.rotations,
            *authority.charter_statements,
            *(revocations[number] for number in self._order),
        ]
        begin = self._told.get(member, 0) % max(1, len(lasting))
        chosen: list[Signed] = []
        size = passed = 0
        for each in (*lasting[begin:], *lasting[:begin]):
            if authority.is_verifiable(each, now=now):
                size += _size(each)
                if size > _MOST_BYTES or len(chosen) == _MOST_STATEMENTS:
                    break
                chosen.append(each)
            passed += 1
        self._told[member] = begin + passed
        return chosen

    def begin_again(self, member: str) -> None:
        """Record that a member knows everything."""
        self._told.pop(member, None)

    def _update(self) -> None:
        if self._epoch != self._authority.epoch:
            self._epoch = self._authority.epoch
            self._told.clear()  # what follows a rotation can be verified only after it
        # One before the place that a member has reached moves it back: nothing is left out.
        for number in range(len(self._order), len(self._authority.revocations)):
            self._order.insert(random.randrange(number + 1), number)


def newest_that_fit(statements: Iterable[Signed]) -> list[Signed]:
    """Return the last of some statements, as many as fit into one message."""
    chosen: list[Signed] = []
    size = 0
    for each in reversed(list(statements)):
        size += _size(each)
        if size > _MOST_BYTES or len(chosen) == _MOST_STATEMENTS:
            break
        chosen.append(each)
    return chosen[::-1]


def _size(statement: Signed) -> int:
    return len(statement.to_bytes()) + 8
