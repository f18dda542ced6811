"""Beliefs of one member about its network: its keys, its charter, who is out, and so whose certificate holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from gossipfl.errors import (
    CertificateExpired,
    CertificateForged,
    CertificateNotYetValid,
    CertificateOfAnotherNetwork,
    CertificateOfAnotherPeer,
    CertificateRevoked,
    MalformedStatement,
    NotAMember,
    TooFewSignatures,
)
from gossipfl.membership.codec import integer
from gossipfl.membership.network_keys import KeySet, Network, Rotation
from gossipfl.membership.signing import Signed
from gossipfl.membership.statements import Certificate, Charter, Revocation, Role
from gossipfl.recent import RecentMap

__all__ = ["Authority", "Member"]

#: Peers that network keys have put out, and those that one issuer has.
_MOST_REVOKED: Final = 65_536
_MOST_REVOKED_BY_ISSUER: Final = 4_096
_MOST_ROTATIONS: Final = 1_024
_MOST_VERIFIED: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A peer whose certificate was verified.

    Parameters
    ----------
    certificate : Certificate
    issuer : Certificate or None
        Of the peer that let it in; None where network keys did.
    epoch : int
        Rotations before the keys that have signed.
    """

    certificate: Certificate
    issuer: Certificate | None
    epoch: int


class Authority:
    """Verifies what is said in the name of a network, and keeps what lasts of it.

    Times are seconds since 1970, handed in by the caller.

    Parameters
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.id = network.id
        self._rotations: list[Signed] = []
        self._charter: Signed | None = None
        # By whom (None: by network keys) and whom; with the epoch of the keys that have signed.
        self._revoked: dict[tuple[bytes | None, bytes], tuple[Signed, int]] = {}
        self._by_issuer: dict[bytes, int] = {}
        self._verified: RecentMap[bytes, Member] = RecentMap(_MOST_VERIFIED)
        self._digest: bytes | None = None

    @property
    def epoch(self) -> int:
        """Rotations so far."""
        return len(self._rotations)

    @property
    def keys(self) -> KeySet:
        """The network keys of today."""
        return self._keys_of(self.epoch)

    @property
    def charter(self) -> Charter | None:
        """The charter that holds, if there is one."""
        body = self._charter.body if self._charter is not None else None
        return body if isinstance(body, Charter) else None

    @property
    def revoked(self) -> frozenset[bytes]:
        """Public keys of all that were put out, by network keys or by an issuer."""
        return frozenset(subject for _, subject in self._revoked)

    def is_out(self, subject: bytes) -> bool:
        """Say whether network keys have put a peer out."""
        return (None, subject) in self._revoked

    @property
    def rotations(self) -> tuple[Signed, ...]:
        """All rotations, the first one first."""
        return tuple(self._rotations)

    @property
    def charter_statements(self) -> tuple[Signed, ...]:
        """The charter that holds, signed; nothing if there is none."""
        return () if self._charter is None else (self._charter,)

    @property
    def revocations(self) -> tuple[Signed, ...]:
        """All that put somebody out."""
        return tuple(statement for statement, _ in self._revoked.values())

    def statements(self) -> Iterator[Signed]:
        """All that another member should know, in an order in which it can take it in."""
        yield from self._rotations
        yield from self.charter_statements
        yield from self.revocations

    def digest(self) -> bytes:
        """SHA-256 over all statements, whatever the order in which they came."""
        if self._digest is None:
            lasting = [*self._rotations, *self.charter_statements]
            said = [each.signed_bytes for each in lasting]
            said += [each.signed_bytes + integer(epoch, 4) for each, epoch in self._revoked.values()]
            digests = sorted(hashlib.sha256(each).digest() for each in said)
            self._digest = hashlib.sha256(b"".join(digests)).digest()
        return self._digest

    def learn(self, statement: Signed, *, now: float) -> bool:
        """Take in a rotation, a charter or a revocation; say whether it changed anything.

        What was known before, is older than what is known, or follows on what is not known yet, changes
        nothing. Of two rotations with one number, the one that came first holds.

        Raises
        ------
        NotAMember
            It is not signed as it must be, or of another network.
        MalformedStatement
            It is none of these.
        """
        body = statement.body
        if not isinstance(body, Rotation | Charter | Revocation):
            raise MalformedStatement("a statement of this kind is not passed on", got=body.kind.name.lower())
        if body.network != self.id:
            raise CertificateOfAnotherNetwork("the statement is of another network")
        if isinstance(body, Rotation):
            changed = self._learn_rotation(statement, body)
        elif isinstance(body, Charter):
            changed = self._learn_charter(statement, body, now=now)
        else:
            changed = self._learn_revocation(statement, body, now=now)
        if changed:
            self._digest = None
        return changed

    def member(self, statement: Signed, *, subject: bytes, now: float) -> Member:
        """Verify a peer's certificate.

        Parameters
        ----------
        statement : Signed
        subject : bytes, length 32
            Public key that the peer has proved to hold.
        now : float

        Raises
        ------
        NotAMember
            It does not hold; the error's class says why.
        """
        body = statement.body
        if not isinstance(body, Certificate):
            raise MalformedStatement("the peer showed no certificate", got=body.kind.name.lower())
        if body.network != self.id:
            raise CertificateOfAnotherNetwork("the peer's certificate is of another network")
        if body.subject != subject:
            raise CertificateOfAnotherPeer("the peer showed the certificate of another")
        fingerprint = hashlib.sha256(statement.to_bytes()).digest()
        member = self._verified.get(fingerprint) or self._verify(statement, body, now=now)
        self._verified[fingerprint] = member
        self.require_valid(member, now=now)
        return member

    def require_valid(self, member: Member, *, now: float) -> None:
        """Require that a certificate, verified before, still holds; costs no signature.

        Raises
        ------
        CertificateRevoked, CertificateExpired, CertificateNotYetValid
            It does not.
        """
        certificate, issuer = member.certificate, member.issuer
        by = None if issuer is None else issuer.subject
        if (None, certificate.subject) in self._revoked or (by, certificate.subject) in self._revoked:
            raise CertificateRevoked("the peer was put out of the network")
        if by is not None and (None, by) in self._revoked:
            raise CertificateRevoked("whoever let the peer in was put out of the network")
        self._require_keys_valid(member.epoch, now=now)
        for each in (certificate,) if issuer is None else (certificate, issuer):
            if now < each.not_before:
                raise CertificateNotYetValid(
                    "the certificate is not valid yet",
                    expected=f"at {each.not_before} or later",
                    got=int(now),
                )
            if now >= each.expires:
                raise CertificateExpired(
                    "the certificate has expired", expected=f"before {each.expires}", got=int(now)
                )

    def expires(self, member: Member) -> int:
        """Return when a certificate ends, its issuer's and old network keys considered."""
        ends = [member.certificate.expires, *([member.issuer.expires] if member.issuer else [])]
        if member.epoch < self.epoch:
            ends.append(self._end_of_keys(member.epoch))
        return min(ends)

    def _verify(self, statement: Signed, body: Certificate, *, now: float) -> Member:
        if statement.issuer is None:
            return Member(certificate=body, issuer=None, epoch=self._require_network(statement, now=now))
        if body.role is not Role.MEMBER:
            raise TooFewSignatures("an issuer's certificate is signed by network keys alone")
        issuer, epoch = self._require_issuer(statement, now=now)
        return Member(certificate=body, issuer=issuer, epoch=epoch)

    def _require_issuer(self, statement: Signed, *, now: float) -> tuple[Certificate, int]:
        enclosed = statement.issuer
        issuer = enclosed.body if enclosed is not None else None
        if enclosed is None or not isinstance(issuer, Certificate) or issuer.role is not Role.ISSUER:
            raise TooFewSignatures("who signed the certificate is no issuer")
        if issuer.network != self.id:
            raise CertificateOfAnotherNetwork("the issuer is of another network")
        if [each.key for each in statement.signatures] != [issuer.subject]:
            raise CertificateForged("the certificate is not signed by its issuer")
        epoch = self._require_network(enclosed, now=now)
        statement.require_signature(statement.signatures[0])
        return issuer, epoch

    def _require_network(self, statement: Signed, *, now: float) -> int:
        """Require signatures of as many network keys as must sign; return the epoch of these keys."""
        most, needed = 0, self.keys.threshold
        for epoch in range(self.epoch, -1, -1):
            keys = self._keys_of(epoch)
            own = [each for each in statement.signatures if each.key in keys.keys]
            if len(own) >= keys.threshold:
                self._require_keys_valid(epoch, now=now)
                for each in own[: keys.threshold]:
                    statement.require_signature(each)
                return epoch
            most = max(most, len(own))
        raise TooFewSignatures(
            "too few network keys have signed", expected=f"{needed} of {len(self.keys.keys)}", got=most
        )

    def _require_keys_valid(self, epoch: int, *, now: float) -> None:
        if epoch < self.epoch and now >= self._end_of_keys(epoch):
            raise CertificateExpired("the network keys that have signed are of the past")

    def _end_of_keys(self, epoch: int) -> int:
        """Until when keys of a past epoch count: the earliest end that a later rotation sets them."""
        ends = [
            each.body.previous_until for each in self._rotations[epoch:] if isinstance(each.body, Rotation)
        ]
        return min(ends)

    def _keys_of(self, epoch: int) -> KeySet:
        if epoch == 0:
            return self.network.keys
        body = self._rotations[epoch - 1].body
        assert isinstance(body, Rotation)  # noqa: S101  (nothing else is put in there)
        return body.keys

    def _learn_rotation(self, statement: Signed, body: Rotation) -> bool:
        if body.number != self.epoch + 1 or self.epoch >= _MOST_ROTATIONS:
            return False
        own = [each for each in statement.signatures if each.key in self.keys.keys]
        if len(own) < self.keys.threshold:
            raise TooFewSignatures(
                "too few network keys have signed the rotation", expected=self.keys.threshold, got=len(own)
            )
        for each in own[: self.keys.threshold]:
            statement.require_signature(each)
        self._rotations.append(statement)
        return True

    def _learn_charter(self, statement: Signed, body: Charter, *, now: float) -> bool:
        if self.charter is not None and body.number <= self.charter.number:
            return False
        self._require_network(statement, now=now)
        self._charter = statement
        return True

    def _learn_revocation(self, statement: Signed, body: Revocation, *, now: float) -> bool:
        by = None
        if statement.issuer is not None and isinstance(statement.issuer.body, Certificate):
            by = statement.issuer.body.subject
        known = self._revoked.get((by, body.subject))
        if known is not None and (by is not None or known[1] == self.epoch):
            return False
        if len(self._revoked) >= _MOST_REVOKED or (
            by is not None and self._by_issuer.get(by, 0) >= _MOST_REVOKED_BY_ISSUER
        ):
            raise NotAMember("too many peers were put out", expected=f"at most {_MOST_REVOKED_BY_ISSUER}")
        if by is None:
            epoch = self._require_network(statement, now=now)
        else:
            _, epoch = self._require_issuer(statement, now=now)
            self._by_issuer[by] = self._by_issuer.get(by, 0) + 1
        if known is not None and epoch <= known[1]:
            return False
        self._revoked[by, body.subject] = (statement, epoch)  # signed anew by keys that will count for longer
        return True

    def restore(self, statements: Iterable[Signed]) -> None:
        """Take in what was kept on disk and verified when it came, whatever has ended since.

        Raises
        ------
        NotAMember, MalformedStatement
            It was changed on the disk.
        """
        for each in statements:
            self.learn(each, now=0.0)
