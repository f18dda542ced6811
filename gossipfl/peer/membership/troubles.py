"""Reasons why this peer and others do not admit each other, with remedies, as conditions of the peer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

import trio

from gossipfl.errors import CertificateRevoked, NotAMember
from gossipfl.membership import Authority
from gossipfl.network import limited_logger
from gossipfl.peer.conditions import Conditions
from gossipfl.peer.membership.charter import differing_from

__all__ = [
    "bootstrap_not_allowed",
    "charter_not_followed",
    "refused_by_others",
    "watch_troubles",
    "without_right",
]

_LOOK_SECONDS: Final = 0.5
_NAMES: Final = ("membership", "charter", "allow", "refused")
_MOST_SHOWN: Final = 3
_NEW_HOME: Final = "It can only return with a new home (gossipfl peer init) and a new invitation"
_log = limited_logger(__name__)


def without_right(problem: NotAMember, *, home: str) -> str:
    """Describe what is wrong with this peer's own certificate."""
    if isinstance(problem, CertificateRevoked):
        return f"this peer is no longer a member: {problem.what}. {_NEW_HOME}"
    return (
        f"this peer is no longer a member: {problem.what}. Ask an issuer for a new invitation, and stop this peer:"
        f" gossipfl network join INVITATION --home {home}"
    )


def charter_not_followed(authority: Authority, own: Mapping[str, str]) -> str | None:
    """Describe how a peer's settings differ from the network's newest charter; None if they do not."""
    wrong = differing_from(authority, own)
    if authority.charter is None or not wrong:
        return None
    asked = ", ".join(f"{name} = {there} (here {here})" for name, (there, here) in wrong.items())
    return (
        f"charter {authority.charter.number} of network {authority.network.name!r} asks for {asked}: correct "
        "peer.toml and restart"
    )


def bootstrap_not_allowed(bootstrap: Collection[str], allowed: Collection[str]) -> str | None:
    """Describe which bootstrap peers this peer's own list does not admit; None if there is no such peer."""
    lacking = [each for each in bootstrap if each not in allowed]
    if not allowed or not lacking:
        return None
    return f"this peer's own network.allow lacks its bootstrap peers: add {', '.join(lacking)} to it"


def refused_by_others(others: Collection[str], *, door: str, own: str, home: str) -> str | None:
    """Describe what may help a peer whom others refuse; None if none does.

    They do not say why, so the remedy follows from what this peer shows them.
    """
    if not others:
        return None
    shown = ", ".join(list(others)[-_MOST_SHOWN:])
    more = f" and {len(others) - _MOST_SHOWN} more" if len(others) > _MOST_SHOWN else ""
    remedies = {
        "certificates": "Either it was revoked, or they belong to another network: ask an issuer (gossipfl "
        f"network members). {_NEW_HOME}, if it was revoked",
        "secret": f"Compare {home}/membership/secret with theirs: the line must be the same",
        "allow": f"Have {own} added to network.allow in their peer.toml",
    }
    remedy = remedies.get(
        door,
        "They admit only peers with an invitation (gossipfl network join INVITATION --home "
        f"{home}), with their secret (membership/secret), or on their list (network.allow: {own})",
    )
    return f"{shown}{more} answered that this peer is not a member. {remedy}"


async def watch_troubles(find: Callable[[], Mapping[str, str]], conditions: Conditions) -> None:
    """Keep conditions up to date, and log each text that is new, until cancelled.

    Parameters
    ----------
    find : callable
        Returns texts by the names of conditions.
    """
    known: Mapping[str, str] = {}
    while True:
        found = find()
        for name in _NAMES:
            if name not in found:
                conditions.clear(name)
        for name, text in found.items():
            conditions.note(name, text)
            if known.get(name) != text:
                _log.warning("%s", text)
        known = found
        await trio.sleep(_LOOK_SECONDS)
