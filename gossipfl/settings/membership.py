"""Settings of the door: who may connect to a peer, and whom it connects to."""

from __future__ import annotations

from typing import Literal

from gossipfl.settings.table import Table

__all__ = ["MembershipSettings"]


class MembershipSettings(Table):
    """Who may take part; see docs/membership.md."""

    door: Literal["auto", "open", "allow", "secret", "certificates"] = "auto"
    """who may connect: everybody (open), those in network.allow or the roster (allow), who holds the same
    secret (secret), or members of the network this peer has joined (certificates); auto takes what there is,
    and is open on loopback alone"""
