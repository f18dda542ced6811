"""Automatic renewal, by issuers, of certificates that expire soon."""

from __future__ import annotations

from typing import Final

from gossipfl.errors import GossipflError
from gossipfl.membership import Authority, Member, Signed
from gossipfl.network import Identity, limited_logger
from gossipfl.peer.membership.issuing import DAY, certify, signers_at_hand
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.recent import RecentMap
from gossipfl.settings.addresses import peer_id_of

__all__ = ["Renewals", "is_due"]

_MOST_REMEMBERED: Final = 1024
_log = limited_logger(__name__)


def is_due(authority: Authority, member: Member, *, now: float) -> bool:
    """Return whether a certificate is in the last third of its validity, or signed by replaced keys."""
    certificate = member.certificate
    left = authority.expires(member) - now
    return member.epoch < authority.epoch or left < (certificate.expires - certificate.not_before) / 3


class Renewals:
    """Certificates renewed by an issuer: one for each that is due, however often it is requested.

    Parameters
    ----------
    store : MembershipStore
    authority : Authority
    identity : Identity
        The issuer's own.
    """

    def __init__(self, store: MembershipStore, authority: Authority, identity: Identity) -> None:
        self._store = store
        self._authority = authority
        self._identity = identity
        self._made: RecentMap[tuple[bytes, int], Signed] = RecentMap(_MOST_REMEMBERED)

    def of(self, member: Member, *, now: float) -> list[Signed]:
        """Return a new certificate of the same length for a member whose own is due; else none."""
        if not is_due(self._authority, member, now=now):
            return []
        certificate = member.certificate
        due = (certificate.serial, self._authority.epoch)
        if due not in self._made:
            try:
                self._made[due] = certify(
                    self._authority,
                    certificate.subject,
                    signers=signers_at_hand(
                        self._store, self._authority, self._identity, role=certificate.role
                    ),
                    role=certificate.role,
                    days=(certificate.expires - certificate.not_before) / DAY,
                    now=now,
                )
            except GossipflError as error:
                _log.warning(
                    "the certificate of %s was not renewed: %s", peer_id_of(certificate.subject), error
                )
                return []
            _log.info("renewed the certificate of %s", peer_id_of(certificate.subject))
        return [self._made[due]]
