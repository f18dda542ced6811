"""Founding and joining networks, and replacing their keys, by an operator in a peer's home."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from gossipfl.errors import MembershipError
from gossipfl.membership import (
    Authority,
    Grant,
    Invitation,
    KeySet,
    Network,
    Role,
    Signed,
    vouch_for_revocations,
)
from gossipfl.membership.codec import SERIAL_BYTES
from gossipfl.membership.invitations import require_fresh
from gossipfl.membership.network_keys import MOST_KEYS, majority_of
from gossipfl.membership.texts import is_plain
from gossipfl.network import Identity, ask_for_grant
from gossipfl.peer.membership.changing import charter_body
from gossipfl.peer.membership.drafting import rotation_to, threshold_after
from gossipfl.peer.membership.durations import days_of
from gossipfl.peer.membership.issuing import Signers, certify, signers_at_hand
from gossipfl.peer.membership.store import MembershipStore

__all__ = ["Founded", "found", "join", "rotate"]


@dataclass(frozen=True, slots=True)
class Founded:
    """A new network, or one with new keys.

    Parameters
    ----------
    key_files : tuple of Path
        Files of the new network keys.
    """

    authority: Authority
    key_files: tuple[Path, ...]


def found(
    store: MembershipStore,
    identity: Identity,
    *,
    name: str,
    charter: Mapping[str, str] | None,
    keys: int = 1,
    threshold: int | None = None,
    keys_directory: Path | None = None,
    days: float = 3650,
) -> Founded:
    """Create a network with this peer as its first member and issuer.

    Parameters
    ----------
    identity : Identity
        The peer's own.
    name : str
        For people.
    charter : mapping of str to str or None
        Values of the settings that all members must share; None if they are to be agreed on later.
    keys, threshold : int
        Number of network keys, and how many of them must sign; a majority if not given.
    keys_directory : Path, optional
        Directory for them, if not the peer's.
    days : float
        Validity of the peer's certificate.

    Raises
    ------
    MembershipError
        The peer already belongs to a network, or an argument is invalid.
    """
    if store.has_certificate():
        raise MembershipError(
            "this peer already belongs to a network",
            got=f"network {store.authority().id.hex()[:16]}",
            remedy=f"Use another --home, or delete {store.directory}.",
        )
    if not is_plain(name.encode()) or len(name) > 64:
        raise MembershipError(
            "the name of the network is invalid", expected="1 to 64 printable ASCII characters"
        )
    own, key_set = _new_keys(keys, majority_of(keys) if threshold is None else threshold)
    authority = Authority(Network(name=name, nonce=secrets.token_bytes(SERIAL_BYTES), keys=key_set))
    now, signers = time.time(), Signers(own[: key_set.threshold])
    if charter is not None:
        authority.learn(signers.sign(charter_body(authority, charter)), now=now)
    certificate = certify(
        authority, identity.public_key, signers=signers, role=Role.ISSUER, days=days_of(days), now=now
    )
    paths = store.write_keys(own, directory=keys_directory)
    store.write_authority(authority)
    store.write_certificate(certificate)
    return Founded(authority, tuple(paths))


async def join(store: MembershipStore, identity: Identity, invitation: Invitation) -> Authority:
    """Join a network by invitation, and store the certificate.

    Raises
    ------
    MembershipError
        The peer belongs to another network, or the invitation has expired.
    NotAdmitted, PeerUnreachable
        The peer that issued the invitation refuses, or cannot be reached.
    NotAMember
        Its grant is not valid.
    """
    now = time.time()
    require_fresh(invitation, now=now)
    if store.has_certificate() and store.authority().id != invitation.network:
        raise MembershipError(
            "this peer already belongs to another network",
            expected=f"network {invitation.network.hex()[:16]}",
            got=f"network {store.authority().id.hex()[:16]}",
            remedy=f"Use another --home, or delete {store.directory}.",
        )
    granted = Grant.from_bytes(await ask_for_grant(identity, invitation))
    authority = granted.authority(network=invitation.network, subject=identity.public_key, now=now)

    def keep() -> None:
        store.merge(authority)
        store.write_introducers([f"{each}/p2p/{invitation.peer_id}" for each in invitation.addresses])
        store.write_certificate(granted.certificate)

    await trio.to_thread.run_sync(keep)
    return authority


def rotate(
    store: MembershipStore,
    identity: Identity,
    *,
    keys: int | None = None,
    threshold: int | None = None,
    keys_directory: Path | None = None,
    grace_days: float = 30,
    days: float = 3650,
) -> Founded:
    """Replace the network's keys, and re-sign revocations, the charter and this issuer's certificate with them.

    Signatures by the old keys stay valid for `grace_days`, during which issuers renew the certificates of the
    members connected to them.

    Parameters
    ----------
    keys, threshold : int, optional
        Number of new keys, and how many of them must sign; see `threshold_after`. As many as before if not given.

    Raises
    ------
    MembershipError
        There are too few of the old network keys here.
    """
    authority, now = store.authority(), time.time()
    old = signers_at_hand(store, authority, identity, role=Role.ISSUER)
    keys = len(authority.keys.keys) if keys is None else keys
    own, key_set = _new_keys(keys, threshold_after(authority.keys, keys) if threshold is None else threshold)
    rotation = rotation_to(key_set, authority, grace_days=grace_days)
    authority.learn(old.sign(Signed(body=rotation)), now=now)
    signers = Signers(own[: key_set.threshold])
    if authority.charter is not None:
        authority.learn(signers.sign(charter_body(authority, dict(authority.charter.fields))), now=now)
    vouch_for_revocations(authority, signers.sign, now=now)
    certificate = certify(
        authority, identity.public_key, signers=signers, role=Role.ISSUER, days=days_of(days), now=now
    )
    paths = store.write_keys(own, directory=keys_directory)
    store.merge(authority)
    store.write_certificate(certificate)
    return Founded(authority, tuple(paths))


def _new_keys(keys: int, threshold: int) -> tuple[list[Identity], KeySet]:
    if not 1 <= threshold <= keys <= MOST_KEYS:
        raise MembershipError(
            "the number of network keys is out of range",
            expected=f"1 <= threshold <= keys <= {MOST_KEYS}",
            got=f"{threshold} of {keys}",
        )
    own = sorted((Identity.generate() for _ in range(keys)), key=lambda each: each.public_key)
    return own, KeySet(threshold, tuple(each.public_key for each in own))
