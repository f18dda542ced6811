"""Warnings when a peer learns alone although others are configured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

import trio

from gossipfl.network import Knocks
from gossipfl.peer.conditions import Conditions

__all__ = ["warn_of_isolation"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_FIRST_WARNING_SECONDS = 10.0


async def warn_of_isolation(
    connected: Callable[[], Collection[str]],
    bootstrap: Sequence[str],
    conditions: Conditions,
    knocks: Knocks,
    *,
    seconds: float = _FIRST_WARNING_SECONDS,
) -> None:
    """Warn whenever no peer has been reachable for a while, each time after twice as long, until cancelled.

    Parameters
    ----------
    connected : callable
        Returns the peers with a live connection.
    bootstrap : sequence of str
        Configured addresses. A peer without any rightly waits for others to connect.
    conditions : Conditions
        Updated as well.
    knocks : Knocks
        Peers that refused to admit this one.
    seconds : float
        Time until the first warning.
    """
    if not bootstrap:
        return
    alone_since, patience = trio.current_time(), seconds
    while True:
        await trio.sleep(_LOOK_SECONDS)
        if connected():
            if patience > seconds:
                logger.info("other peers are reachable again")
            conditions.clear("alone")
            alone_since, patience = trio.current_time(), seconds
        elif trio.current_time() - alone_since >= patience:
            patience *= 2
            if knocks.turned_away_by:
                logger.warning(
                    "this peer learns alone: it reached %s, but is not a member of that network. Join it: "
                    "gossipfl network join INVITATION --home DIR",
                    ", ".join(knocks.turned_away_by),
                )
                conditions.note(
                    "alone", "this peer learns alone: it is not a member of the network that it reached"
                )
                continue
            logger.warning(
                "this peer learns alone: no other has been reachable for %.0f s. Start a bootstrap peer (%s). If "
                "its address has changed, `gossipfl peer status` on its --home prints the one to put into "
                "network.bootstrap of this peer's peer.toml",
                trio.current_time() - alone_since,
                ", ".join(bootstrap),
            )
            conditions.note("alone", "this peer learns alone: no other is reachable")
