"""Warnings that a peer learns alone although others are configured."""

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
    """Warn whenever nobody has been reachable for a while, each time after twice as long, until cancelled.

    Parameters
    ----------
    connected : callable
        Returns the peers with a live connection.
    bootstrap : sequence of str
        Addresses that were configured. A peer without any waits for others to come, and nothing is wrong.
    conditions : Conditions
        Say so too.
    knocks : Knocks
        Knows whether others turned this peer away.
    seconds : float
        Length of the first such interval, in seconds.
    """
    if not bootstrap:
        return
    alone_since, patience = trio.current_time(), seconds
    while True:
        await trio.sleep(_LOOK_SECONDS)
        if connected():
            if patience > seconds:
                logger.info("others are reachable again")
            conditions.clear("alone")
            alone_since, patience = trio.current_time(), seconds
        elif trio.current_time() - alone_since >= patience:
            patience *= 2
            if knocks.turned_away_by:
                logger.warning(
                    "this peer learns alone: it is not a member of the network of %s, which was reached. Join "
                    "that network: gossipfl network join INVITATION --home DIR",
                    ", ".join(knocks.turned_away_by),
                )
                conditions.note(
                    "alone", "not a member of the network that was reached, and this peer learns alone"
                )
                continue
            logger.warning(
                "nobody has been reachable for %.0f s, and this peer learns alone. Start a bootstrap peer "
                "(%s). If one listens elsewhere by now, `gossipfl peer status` on its --home prints the address "
                "to put into network.bootstrap of this one's peer.toml",
                trio.current_time() - alone_since,
                ", ".join(bootstrap),
            )
            conditions.note("alone", "nobody is reachable, and this peer learns alone")
