"""One member's knowledge of its network: keys, charter and revocations, and verification of certificates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
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
from gossipfl.membership.signing import Signature, Signed
from gossipfl.membership.statements import Certificate, Charter, Revocation, Role
from gossipfl.moments import moment
from gossipfl.recent import RecentMap

__all__ = ["Authority", "Member"]

#: Most revocations by network keys, and by one issuer.
_MOST_REVOKED: Final = 65_536
_MOST_REVOKED_BY_ISSUER: Final = 4_096
#: Most bytes of all rotations, so that a newcomer gets them with its certificate: 182 with one key each, 96 with
#: two signatures by three keys, 30 with eight by eight.
_MOST_ROTATION_BYTES: Final = 32_768
_MOST_VERIFIED: Final = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A peer with a verified certificate.

    Parameters
    ----------
    issuer : Certificate or None
        Certificate of the peer that issued it; None if network keys did.
    epoch : int
        Number of rotations before the keys that signed.
    """

    certificate: Certificate
    issuer: Certificate | None
    epoch: int

    def supersedes(self, other: Member) -> bool:
        """Return whether this certificate is signed by newer keys, or holds longer, and grants no less."""
        mine, theirs = self.certificate, other.certificate
        is_newer = (self.epoch, mine.expires) > (other.epoch, theirs.expires)
        return is_newer and mine.role >= theirs.role


class Authority:
    """Verifies statements about a network, and stores the lasting ones.

    Times are seconds since 1970, passed in by the caller.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.id = network.id
        self._rotations: list[Signed] = []
        self._rotation_bytes = 0
        self._charter: Signed | None = None
        # By issuer (None for network keys) and subject; with the epoch of the keys that signed.
        self._revoked: dict[tuple[bytes | None, bytes], tuple[Signed, int]] = {}
        self._by_issuer: dict[bytes, int] = {}
        self._verified: RecentMap[bytes, Member] = RecentMap(_MOST_VERIFIED)
        self._digest: bytes | None = None

    @property
    def epoch(self) -> int:
        """Number of rotations so far."""
        return len(self._rotations)

    @property
    def keys(self) -> KeySet:
        """The current network keys."""
        return self.keys_at(self.epoch)

    def keys_at(self, epoch: int) -> KeySet:
        """Return the network keys after so many rotations."""
        if epoch == 0:
            return self.network.keys
        body = self._rotations[epoch - 1].body
        assert isinstance(body, Rotation)  # noqa: S101  (the list holds nothing else)
        return body.keys

    @property
    def charter(self) -> Charter | None:
        """The current charter, if there is one."""
        body = self._charter.body if self._charter is not None else None
        return body if isinstance(body, Charter) else None

    @property
    def revoked(self) -> frozenset[bytes]:
        """Public keys of all revoked peers, whether revoked by network keys or by an issuer."""
        return frozenset(subject for _, subject in self._revoked)

    def is_revoked(self, subject: bytes) -> bool:
        """Return whether network keys have revoked a peer."""
        return (None, subject) in self._revoked

    @property
    def rotations(self) -> tuple[Signed, ...]:
        """All rotations, oldest first."""
        return tuple(self._rotations)

    @property
    def charter_statements(self) -> tuple[Signed, ...]:
        """The current charter, signed; empty if there is none."""
        return () if self._charter is None else (self._charter,)

    @property
    def revocations(self) -> tuple[Signed, ...]:
        """All revocations."""
        return tuple(statement for statement, _ in self._revoked.values())

    def statements(self) -> Iterator[Signed]:
        """Yield everything that another member should know, in an order in which it can be learned."""
        yield from self._rotations
        yield from self.charter_statements
        yield from self.revocations

    def digest(self) -> bytes:
        """Return the SHA-256 of all statements, independent of the order in which they arrived."""
        if self._digest is None:
            lasting = [*self._rotations, *self.charter_statements]
            said = [each.signed_bytes for each in lasting]
            said += [each.signed_bytes + integer(epoch, 4) for each, epoch in self._revoked.values()]
            digests = sorted(hashlib.sha256(each).digest() for each in said)
            self._digest = hashlib.sha256(b"".join(digests)).digest()
        return self._digest

    def learn(self, statement: Signed, *, now: float) -> bool:
        """Learn a rotation, a charter or a revocation; return whether it changed anything.

        A statement that is already known, outdated, or ahead of what is known changes nothing. Of two rotations
        with the same number, the one that arrived first is kept.

        Raises
        ------
        NotAMember
            It is not signed correctly, or belongs to another network.
        MalformedStatement
            It is none of these.
        """
        body = statement.body
        if not isinstance(body, Rotation | Charter | Revocation):
            raise MalformedStatement("a statement of this kind is not passed on", got=body.kind.name.lower())
        if body.network != self.id:
            raise CertificateOfAnotherNetwork("the statement belongs to another network")
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
        subject : bytes, length 32
            Public key that the peer has proved to hold.

        Raises
        ------
        NotAMember
            It is not valid; the error's class says why.
        """
        body = statement.body
        if not isinstance(body, Certificate):
            raise MalformedStatement("the peer presented no certificate", got=body.kind.name.lower())
        if body.network != self.id:
            raise CertificateOfAnotherNetwork("the peer's certificate belongs to another network")
        if body.subject != subject:
            raise CertificateOfAnotherPeer("the peer presented another peer's certificate")
        fingerprint = hashlib.sha256(statement.to_bytes()).digest()
        member = self._verified.get(fingerprint) or self._verify(statement, body, now=now)
        self._verified[fingerprint] = member
        self.require_valid(member, now=now)
        return member

    def require_valid(self, member: Member, *, now: float) -> None:
        """Require that a verified certificate is still valid, without checking signatures again.

        Raises
        ------
        CertificateRevoked, CertificateExpired, CertificateNotYetValid
            It is not.
        """
        certificate, issuer = member.certificate, member.issuer
        by = None if issuer is None else issuer.subject
        if (None, certificate.subject) in self._revoked or (by, certificate.subject) in self._revoked:
            raise CertificateRevoked("the peer's certificate was revoked")
        if by is not None and (None, by) in self._revoked:
            raise CertificateRevoked("the certificate of the peer's issuer was revoked")
        self._require_keys_valid(member.epoch, now=now)
        for each in (certificate,) if issuer is None else (certificate, issuer):
            if now < each.not_before:
                raise CertificateNotYetValid(
                    "the certificate is not valid yet",
                    expected=f"{moment(each.not_before)} or later",
                    got=moment(now),
                )
            if now >= each.expires:
                raise CertificateExpired(
                    "the certificate has expired", expected=f"before {moment(each.expires)}", got=moment(now)
                )

    def expires(self, member: Member) -> int:
        """Return when a certificate expires, considering its issuer's and that of old network keys."""
        ends = [member.certificate.expires, *([member.issuer.expires] if member.issuer else [])]
        if member.epoch < self.epoch:
            ends.append(self._end_of_keys(member.epoch))
        return min(ends)

    def _verify(self, statement: Signed, body: Certificate, *, now: float) -> Member:
        if statement.issuer is None:
            return Member(certificate=body, issuer=None, epoch=self._require_network(statement, now=now))
        if body.role is not Role.MEMBER:
            raise TooFewSignatures("an issuer's certificate must be signed by network keys")
        issuer, epoch = self._require_issuer(statement, now=now)
        return Member(certificate=body, issuer=issuer, epoch=epoch)

    def _require_issuer(self, statement: Signed, *, now: float) -> tuple[Certificate, int]:
        enclosed = statement.issuer
        issuer = enclosed.body if enclosed is not None else None
        if enclosed is None or not isinstance(issuer, Certificate) or issuer.role is not Role.ISSUER:
            raise TooFewSignatures("the certificate was not signed by an issuer")
        if issuer.network != self.id:
            raise CertificateOfAnotherNetwork("the issuer belongs to another network")
        if [each.key for each in statement.signatures] != [issuer.subject]:
            raise CertificateForged("the certificate is not signed by its issuer")
        epoch = self._require_network(enclosed, now=now)
        statement.require_signature(statement.signatures[0])
        return issuer, epoch

    def _require_network(self, statement: Signed, *, now: float) -> int:
        """Require signatures by enough network keys; return the epoch of these keys."""
        epoch, signatures = self._signers_of(statement)
        self._require_keys_valid(epoch, now=now)
        for each in signatures:
            statement.require_signature(each)
        return epoch

    def _signers_of(self, statement: Signed) -> tuple[int, list[Signature]]:
        """Return the epoch of the newest network keys of which enough seem to have signed, and what to verify.

        Raises
        ------
        TooFewSignatures
            There are none.
        """
        most = 0
        for epoch in range(self.epoch, -1, -1):
            keys = self.keys_at(epoch)
            own = [each for each in statement.signatures if each.key in keys.keys]
            if len(own) >= keys.threshold:
                return epoch, own[: keys.threshold]
            most = max(most, len(own))
        current = self.keys
        raise TooFewSignatures(
            "too few network keys have signed",
            expected=f"{current.threshold} of {len(current.keys)}",
            got=most,
        )

    def _require_keys_valid(self, epoch: int, *, now: float) -> None:
        if epoch < self.epoch and now >= self._end_of_keys(epoch):
            raise CertificateExpired("the network keys that signed have been replaced")

    def _end_of_keys(self, epoch: int) -> int:
        """Return when keys of a past epoch expire: the earliest end that a later rotation sets."""
        ends = [
            each.body.previous_until for each in self._rotations[epoch:] if isinstance(each.body, Rotation)
        ]
        return min(ends)

    def _learn_rotation(self, statement: Signed, body: Rotation) -> bool:
        if body.number != self.epoch + 1:
            return False
        own = [each for each in statement.signatures if each.key in self.keys.keys]
        if len(own) < self.keys.threshold:
            raise TooFewSignatures(
                "too few network keys have signed the rotation", expected=self.keys.threshold, got=len(own)
            )
        needed = own[: self.keys.threshold]
        lasting = replace(statement, signatures=tuple(needed))
        size = self._rotation_bytes + len(lasting.to_bytes())
        if size > _MOST_ROTATION_BYTES:
            raise NotAMember(
                "the network's keys were replaced too often: newcomers could not be told of all rotations",
                expected=f"at most {_MOST_ROTATION_BYTES} bytes of rotations",
                remedy="Create a new network, and invite the members to it.",
            )
        for each in needed:
            statement.require_signature(each)
        self._rotations.append(lasting)
        self._rotation_bytes = size
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
        if known is not None and self._signers_of(statement.issuer or statement)[0] <= known[1]:
            return False
        if known is None and (
            len(self._revoked) >= _MOST_REVOKED
            or (by is not None and self._by_issuer.get(by, 0) >= _MOST_REVOKED_BY_ISSUER)
        ):
            raise NotAMember("too many peers were revoked", expected=f"at most {_MOST_REVOKED_BY_ISSUER}")
        if by is None:
            epoch = self._require_network(statement, now=now)
        else:
            _, epoch = self._require_issuer(statement, now=now)
            if known is None:
                self._by_issuer[by] = self._by_issuer.get(by, 0) + 1
        self._revoked[by, body.subject] = (statement, epoch)  # signed again by keys that are valid for longer
        return True

    def is_verifiable(self, statement: Signed, *, now: float) -> bool:
        """Return whether others can still verify a statement learned here: its keys are not outdated."""
        if isinstance(statement.body, Rotation):
            return True
        epoch, _ = self._signers_of(statement.issuer or statement)
        return epoch == self.epoch or now < self._end_of_keys(epoch)

    def restore(self, statements: Iterable[Signed]) -> None:
        """Learn statements from disk, which were verified when they arrived, even if they have expired since.

        Raises
        ------
        NotAMember, MalformedStatement
            They were changed on the disk.
        """
        for each in statements:
            self.learn(each, now=0.0)
