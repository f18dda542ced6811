"""Token accounts of recorded peers, whose decisions follow from their records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gossipfl.peer.gossip.accounts import TokenAccounts
from gossipfl.peer.gossip.own_draws import OwnDraws
from gossipfl.peer.gossip.plan import gossip_algorithm
from sims.replay.lives import Life

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
    merges = (event.number for event in life.events if event.kind == "merge")
    for decision in life.decisions:
        if decision.occasion == "clock":
            accounts.ring(decision.account)
        else:
            accounts.receive(next(merges, -1), decision.account)
        here = made[-1] if made else {}
        for what, there in decision.values.items():
            if here.get(what) != there:
                return (
                    f"{what} at {decision.occasion} {decision.number} of start {life.incarnation} of peer "
                    f"{life.peer} was {there} there, and is {here.get(what)} here"
                )
        made.clear()
    return None
