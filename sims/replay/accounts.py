"""Token accounts of recorded peers, whose decisions follow from their records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gossipfl.peer.gossip.accounts import TokenAccounts
from gossipfl.peer.gossip.own_draws import OwnDraws
from gossipfl.peer.gossip.plan import gossip_algorithm
from sims.replay.lives import Event, Life

__all__ = ["departure_of_account"]


def departure_of_account(life: Life) -> str | None:
    """Describe the first decision of a start that an account like its own does not make; None without any.

    Records from which something was removed are not followed.
    """
    if not (life.is_whole and life.decisions):
        return None
    made: list[Mapping[str, Any]] = []
    behaviour = gossip_algorithm(life.settings).behaviour
    draws = OwnDraws(life.peer, life.incarnation)
    accounts = TokenAccounts(behaviour.flow, draws, made.append, count=behaviour.sharing.ages)
    merges = _merges(life.events)
    for decision in life.decisions:
        if decision.occasion == "clock":
            accounts.ring(decision.account)
        else:
            number, is_useful = next(merges, (-1, None))
            if is_useful is None or decision.is_useful is None:  # it does not follow, or was not recorded
                is_useful = decision.is_useful is not False
            accounts.receive(number, decision.account, is_useful=is_useful)
        here = made[-1] if made else {}
        for what, there in decision.values.items():
            if here.get(what) != there:
                return (
                    f"{what} at {decision.occasion} {decision.number} of start {life.incarnation} of peer "
                    f"{life.peer} was {there} there, and is {here.get(what)} here"
                )
        made.clear()
    return None


def _merges(events: Sequence[Event]) -> Iterator[tuple[int, bool | None]]:
    """Yield the number of each merge, and whether its model was no older than the own one, if that is known."""
    own: int | None = None
    for event in events:
        if event.kind == "merge":
            age = event.sender_age if event.credited_age is None else event.credited_age
            yield event.number, None if own is None or event.part is not None else age >= own
        own = event.age
