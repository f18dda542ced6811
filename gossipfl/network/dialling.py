"""Reaching a peer at one of its addresses.

Nobody dials but the caller of an exchange: there is no automatic connecting to known peers, which would turn
any topology into a full mesh, and no memory of failures, which would keep a peer that restarted away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from gossipfl.errors import GossipflError, IdentityMismatch, PeerUnreachable
from gossipfl.network.addresses import PeerAddress
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.noise.upgrade import SecuredSocket, Upgrader

__all__ = ["dial"]

# The head start of an address over the next one (RFC 8305, section 5).
_STAGGER_SECONDS: Final = 0.25


async def dial(
    peer_id: str, addresses: Sequence[PeerAddress], *, upgrader: Upgrader, seconds: float
) -> SecuredSocket:
    """Connect to a peer at the first of its addresses where it proves to be itself.

    Parameters
    ----------
    peer_id : str
    addresses : sequence of PeerAddress
        Tried in order, each with a short head start over the next.
    upgrader : Upgrader
    seconds : float
        For everything.

    Raises
    ------
    PeerUnreachable
        Nobody answered in time.
    IdentityMismatch
        Whoever answered was somebody else.
    """
    if not addresses:
        raise PeerUnreachable(f"no address of peer {peer_id} is known")
    winner: list[SecuredSocket] = []
    errors: list[Exception] = []

    async def attempt(address: PeerAddress, failed: trio.Event) -> None:
        try:
            secured = await _dial_one(peer_id, address, upgrader)
        except (OSError, ConnectionLost, GossipflError) as error:
            errors.append(error)
            failed.set()
            return
        if winner:
            await trio.aclose_forcefully(secured.socket)
            return
        winner.append(secured)
        nursery.cancel_scope.cancel()

    try:
        with trio.move_on_after(seconds) as deadline:
            async with trio.open_nursery() as nursery:
                for address in addresses:
                    failed = trio.Event()
                    nursery.start_soon(attempt, address, failed)
                    with trio.move_on_after(_STAGGER_SECONDS):
                        await failed.wait()
    except BaseException:
        for secured in winner:
            await trio.aclose_forcefully(secured.socket)
        raise
    if winner:
        return winner[0]
    for error in errors:
        if isinstance(error, IdentityMismatch):
            raise error
    reasons = "; ".join(str(error) for error in errors)
    if deadline.cancelled_caught:
        reasons = f"no answer within {seconds:g} s{'; ' if reasons else ''}{reasons}"
    raise PeerUnreachable(
        f"peer {peer_id} cannot be reached",
        expected=f"an answer at {', '.join(str(address) for address in addresses)}",
        got=reasons,
    )


async def _dial_one(peer_id: str, address: PeerAddress, upgrader: Upgrader) -> SecuredSocket:
    socket = await trio.open_tcp_stream(address.host, address.port)
    try:
        return await upgrader.secure(socket, remote_address=address.host, expected_peer=peer_id)
    except BaseException:
        await trio.aclose_forcefully(socket)
        raise
