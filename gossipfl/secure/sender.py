"""A neighbour's part in a masked sum, without I/O: shares of its secrets, its masked row, help with unmasking.

The same question gets the same answer. Once the row can be masked, another question at the same step is refused,
since answers to both could unmask it. Before that, another invitation begins anew, with other secrets.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gossipfl.errors import InconsistentSum, KeyUnknown, ShareForged
from gossipfl.secure.keys import KeyBook, SealingKey, SignedKey, is_signed_by, keys_digest
from gossipfl.secure.masks import add_stream, agreed, derived, private_key
from gossipfl.secure.messages import (
    SECRET_BYTES,
    Invitation,
    Participant,
    Participants,
    RevealedShares,
    SealedShares,
    Signatures,
    Survivors,
)
from gossipfl.secure.ring import RingRow
from gossipfl.secure.session import Session
from gossipfl.secure.shamir import shared

__all__ = ["Sender", "commitment_of", "pairwise_key", "self_key", "survivors_content"]

_ONCE: Final = bytes(12)  # each key seals one message


class Sender:
    """One neighbour's side of one masked sum.

    Parameters
    ----------
    session : Session
    key : SealingKey
        Its own.
    keys : KeyBook
        Keys of the other members.
    entropy : callable
        Returns as many secret random bytes as asked for.
    """

    def __init__(
        self,
        session: Session,
        *,
        key: SealingKey,
        keys: KeyBook,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.session = session
        self._key, self._keys = key, keys
        self._place = session.place(key.number)
        self._entropy = entropy
        self._asked: dict[type, object] = {}
        self._invitation: Invitation | None = None
        self._sealed: SealedShares
        self._draw()
        self._publics: dict[int, bytes] = {}
        self._shares: dict[int, bytes] = {}
        self._participants: tuple[int, ...] = ()
        self._has_masked = False
        self._survivors: tuple[int, ...] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it knows with whom to mask its row."""
        return bool(self._participants)

    def share(self, invitation: Invitation) -> SealedShares:
        """Share the secrets of both masks among the invited neighbours.

        Raises
        ------
        InconsistentSum
            The receiver invites too few, others than neighbours, or others after the list of participants.
        KeyUnknown
            One of them has not shown its key to this peer, or the receiver means another key.
        """
        self._require_members(invitation.places, "invites")
        if invitation == self._invitation:
            return self._sealed
        if self._participants:
            raise InconsistentSum("the receiver invites again, after it has listed the participants")
        keys = {
            place: self._key.signed
            if place == self._place
            else self._keys.key_of(self.session.neighbours[place])
            for place in invitation.places
        }
        if keys_digest(keys.values()) != invitation.keys:
            raise KeyUnknown("the receiver means other keys of the invited members than this peer knows")
        if self._invitation is not None:
            self._draw()
        self._invitation = invitation
        self._sealed = self._share_among({place: keys[place] for place in self._others(invitation.places)})
        return self._sealed

    def accept(self, participants: Participants) -> None:
        """Open the shares of the other participants, whose public keys they authenticate.

        Raises
        ------
        InconsistentSum
            The list is not of invited neighbours, is too short, or differs from an earlier one.
        ShareForged
            Shares were not sealed for this sum by the members that they are said to come from. The receiver may
            invite again, without these.
        """
        places = participants.places
        self._require_members(places, "lists")
        if self._invitation is None or not set(places) <= set(self._invitation.places):
            raise InconsistentSum("the receiver lists participants that it did not invite")
        if self._participants:
            self._require_once(participants)
            return
        opened, publics, forged = {self._place: self._own_share}, dict[int, bytes](), list[int]()
        for place, other in zip(self._others(places), participants.others, strict=True):
            number = self.session.neighbours[place]
            try:
                opened[place] = self._opened(number, other)
            except InvalidTag:
                forged.append(number)
            publics[place] = other.public
        if forged:
            error = ShareForged(
                "the shares and the key that are said to be of members "
                f"{', '.join(map(str, forged))} are not, or belong to another sum"
            )
            error.members = tuple(forged)
            raise error
        self._require_once(participants)
        self._shares, self._publics, self._participants = opened, publics, places

    def masked(self, row: RingRow) -> RingRow:
        """Mask this peer's row, once.

        Raises
        ------
        InconsistentSum
            The row has been masked, or it is not known with whom.
        """
        if not self._participants or self._has_masked:
            raise InconsistentSum(
                "a row is masked once, with the participants that the receiver has listed",
                got="a second row" if self._has_masked else "no list yet",
            )
        self._has_masked = True
        row = row.copy()
        add_stream(row, self_key(self._self_secret, session=self.session, number=self._key.number))
        for place, public in self._publics.items():
            number = self.session.neighbours[place]
            secret = agreed(self._private, public)
            key = pairwise_key(secret, self._key.number, number, session=self.session)
            add_stream(row, key, subtract=self._key.number > number)
        return row

    def confirm(self, survivors: Survivors) -> bytes:
        """Sign the list of neighbours whose rows arrived.

        Raises
        ------
        InconsistentSum
            It is too short, names others than participants, not this peer, or differs from an earlier list.
        """
        places = survivors.places
        if not self._has_masked:
            raise InconsistentSum("the receiver lists survivors of a sum for which this peer sent no row")
        self._require_members(places, "counts among the survivors")
        if not set(places) <= set(self._participants):
            raise InconsistentSum("the receiver lists survivors that did not take part")
        self._require_once(survivors)
        self._survivors = places
        return self._key.sign(survivors_content(survivors, session=self.session))

    def reveal(self, signatures: Signatures) -> RevealedShares:
        """Reveal one share of each participant's secrets, once enough have signed the same survivors' list.

        Raises
        ------
        InconsistentSum
            Fewer signatures than the threshold are of other survivors under the same list, or nothing was signed.
        """
        if self._survivors is None:
            raise InconsistentSum(
                "the receiver asks for shares before this peer has signed the survivors' list"
            )
        content = survivors_content(Survivors(self._survivors), session=self.session)
        signed = [
            place
            for place, signature in signatures.by_place
            if place in self._survivors
            and is_signed_by(self._keys.identity_of(self.session.neighbours[place]), content, signature)
        ]
        if len(signed) < self.session.threshold:
            raise InconsistentSum(
                "too few neighbours have signed the list of survivors that the receiver told this peer: it may "
                "have told others another one",
                expected=f"{self.session.threshold} signatures of {len(self.session.neighbours)} neighbours",
                got=len(signed),
            )
        survived = frozenset(self._survivors)
        return RevealedShares(
            tuple(
                self._shares[place][:SECRET_BYTES]
                if place in survived
                else self._shares[place][SECRET_BYTES:]
                for place in self._participants
            )
        )

    def _draw(self) -> None:
        """Draw the secrets of both masks."""
        self._seed, self._self_secret = self._entropy(SECRET_BYTES), self._entropy(SECRET_BYTES)
        self._private = private_key(self._seed, session=self.session.id, number=self._key.number)

    def _share_among(self, keys: Mapping[int, SignedKey]) -> SealedShares:
        count, threshold = len(self.session.neighbours), self.session.threshold
        both = [
            shared(secret, shares=count, threshold=threshold, entropy=self._entropy)
            for secret in (self._self_secret, self._seed)
        ]
        self._own_share = both[0][self._place] + both[1][self._place]
        public = self._private.public_key().public_bytes_raw()
        boxes = {place: self._box(key, public, outgoing=True) for place, key in keys.items()}
        return SealedShares(
            public=public,
            commitment=commitment_of(self._self_secret, session=self.session),
            sealed=tuple(
                box.encrypt(_ONCE, both[0][place] + both[1][place], None) for place, box in boxes.items()
            ),
        )

    def _require_members(self, places: tuple[int, ...], does: str) -> None:
        if self._place not in places or (places and places[-1] >= len(self.session.neighbours)):
            raise InconsistentSum(f"the receiver {does} others than its neighbours, or not this peer")
        if len(places) < self.session.threshold:
            raise InconsistentSum(
                f"the receiver {does} too few neighbours",
                expected=f"{self.session.threshold} or more of {len(self.session.neighbours)}",
                got=len(places),
            )

    def _require_once(self, question: object) -> None:
        if self._asked.setdefault(type(question), question) != question:
            raise InconsistentSum(
                "the receiver asks a second time, with other neighbours than before",
                expected="the same question as before",
            )

    def _others(self, places: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(place for place in places if place != self._place)

    def _opened(self, number: int, other: Participant) -> bytes:
        box = self._box(self._keys.key_of(number), other.public, outgoing=False)
        return box.decrypt(_ONCE, other.sealed, None)

    def _box(self, key: SignedKey, public: bytes, *, outgoing: bool) -> ChaCha20Poly1305:
        """Box for the shares that come with a public key, which is thereby authenticated."""
        ends = (self._key.number, key.number) if outgoing else (key.number, self._key.number)
        purpose = b"shares" + b"".join(end.to_bytes(4, "little") for end in ends) + public
        return ChaCha20Poly1305(derived(self._key.agreed_with(key), session=self.session.id, purpose=purpose))


def self_key(secret: bytes, *, session: Session, number: int) -> bytes:
    """Return the key of a neighbour's self mask."""
    return derived(secret, session=session.id, purpose=b"self mask" + number.to_bytes(4, "little"))


def pairwise_key(secret: bytes, one: int, other: int, *, session: Session) -> bytes:
    """Return the key of two neighbours' mask: the one with the lower number adds it, the other subtracts it."""
    ends = b"".join(each.to_bytes(4, "little") for each in sorted((one, other)))
    return derived(secret, session=session.id, purpose=b"pairwise mask" + ends)


def commitment_of(secret: bytes, *, session: Session) -> bytes:
    """Return the digest by which a receiver knows that it has recovered the right secret."""
    return hashlib.sha256(b"gossipfl sum commitment 1\n" + session.id + secret).digest()


def survivors_content(survivors: Survivors, *, session: Session) -> bytes:
    """Return the bytes that each survivor signs."""
    return b"gossipfl sum survivors 1\n" + session.id + survivors.to_bytes()
