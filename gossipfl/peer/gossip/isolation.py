"""Warnings when a peer learns alone although others are configured."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

import trio

from gossipfl.peer.conditions import Conditions

__all__ = ["warn_of_isolation"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_FIRST_WARNING_SECONDS = 10.0


async def warn_of_isolation(
    connected: Callable[[], Collection[str]],
    bootstrap: Sequence[str],
    conditions: Conditions,
    reasons: Callable[[], Collection[str]],
    *,
    seconds: float = _FIRST_WARNING_SECONDS,
) -> None:
    """Warn whenever no peer has been reachable for a while, each time after twice as long, until cancelled.

    Parameters
    ----------
    connected : callable
        Returns the peers with a live connection.
    bootstrap : sequence of str
        Configured addresses. A peer without any rightly waits for the first other to connect.
    conditions : Conditions
        Updated as well.
    reasons : callable
        Returns known reasons, as texts that end in a remedy.
    seconds : float
        Time until the first warning.
    """
    while not bootstrap and not connected():
        await trio.sleep(_LOOK_SECONDS)
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
            _warn(reasons(), bootstrap, conditions, since=alone_since)


def _warn(
    reasons: Collection[str], bootstrap: Sequence[str], conditions: Conditions, *, since: float
) -> None:
    text = "; ".join(reasons) or "no other is reachable"
    conditions.note("alone", f"this peer learns alone: {text}")
    if reasons:
        logger.warning("this peer learns alone: %s", text)
        return
    logger.warning(
        "this peer learns alone: no other has been reachable for %.0f s. %s",
        trio.current_time() - since,
        f"Start a bootstrap peer ({', '.join(bootstrap)}). If its address has changed, `gossipfl peer status` on "
        "its --home prints the one to put into network.bootstrap of this peer's peer.toml"
        if bootstrap
        else "It has no bootstrap peer (network.bootstrap), and waits for others to connect",
    )
