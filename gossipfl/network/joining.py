"""Requests for membership by invitation, made without opening a host."""

from __future__ import annotations

import trio

from gossipfl.errors import GossipflError, NotAdmitted, PeerUnreachable
from gossipfl.membership import Invitation
from gossipfl.network.addresses import parse_address
from gossipfl.network.failures import ConnectionLost
from gossipfl.network.identity import Identity
from gossipfl.network.noise.upgrade import Upgrader

__all__ = ["ask_for_grant"]


async def ask_for_grant(identity: Identity, invitation: Invitation, *, seconds: float = 20.0) -> bytes:
    """Ask the peer named in an invitation for a certificate, trying its addresses in order.

    Parameters
    ----------
    identity : Identity
        The identity to be certified.
    seconds : float
        Time for each address.

    Returns
    -------
    bytes
        The grant, not yet verified.

    Raises
    ------
    NotAdmitted
        It refuses.
    PeerUnreachable
        It cannot be reached.
    """
    upgrader = Upgrader(identity=identity, admit=lambda _: True)
    errors = []
    for told in invitation.addresses:
        address = parse_address(told, smallest_port=1)
        try:
            with trio.fail_after(seconds):
                async with await trio.open_tcp_stream(address.host, address.port) as socket:
                    return await upgrader.join(socket, invitation)
        except NotAdmitted:
            raise
        except (OSError, trio.TooSlowError, trio.BrokenResourceError, ConnectionLost, GossipflError) as error:
            errors.append(f"{address}: {str(error) or type(error).__name__}")
    raise PeerUnreachable(
        f"peer {invitation.peer_id}, which issued the invitation, cannot be reached",
        got="; ".join(errors),
        remedy="It must be running for others to join. If its address has changed, ask for a new invitation.",
    )
