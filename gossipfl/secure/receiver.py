"""The receiver's part in a masked sum, without I/O: it passes keys and shares on, adds rows, and unmasks the sum.

Steps, in order: `invitation`, `shared` for each answer, `participants` for each of those, `row` for each masked
row, `survivors`, `confirmed` for each signature, `signatures`, `revealed` for each answer, `total`.

References
----------
K. Bonawitz et al., "Practical secure aggregation for privacy-preserving machine learning", CCS 2017, figure 4,
with the receiver as the server. Public keys of one sum are authenticated by the shares that neighbours seal for
each other under their signed keys, which saves a signature for each pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, islice
from typing import Final

from gossipfl.errors import InconsistentSum, TooFewSummands, WrongShare
from gossipfl.secure.keys import KeyBook, is_signed_by, keys_digest
from gossipfl.secure.masks import add_stream, agreed, private_key
from gossipfl.secure.messages import (
    Invitation,
    Participant,
    Participants,
    RevealedShares,
    SealedShares,
    Signatures,
    Survivors,
)
from gossipfl.secure.ring import RingRow, ring_sum
from gossipfl.secure.sender import commitment_of, pairwise_key, self_key, survivors_content
from gossipfl.secure.session import Session
from gossipfl.secure.shamir import recovered

__all__ = ["Receiver"]

_MOST_CHOICES: Final = 1_024  # of shares, until one is right: all there are of up to 13 neighbours
_MOST_PRODUCTS: Final = 2_000_000  # of such choices: of t shares, t² each


class Receiver:
    """The receiver's side of one masked sum.

    Parameters
    ----------
    session : Session
    keys : KeyBook
    """

    def __init__(self, session: Session, *, keys: KeyBook) -> None:
        self.session = session
        self._keys = keys
        self._invited: tuple[int, ...] = ()
        self._shared: dict[int, SealedShares] = {}
        self._participants: tuple[int, ...] = ()
        self._rows: dict[int, RingRow] = {}
        self._survivors: tuple[int, ...] = ()
        self._signatures: dict[int, bytes] = {}
        self._revealed: dict[int, RevealedShares] = {}
        self._accused: dict[int, frozenset[int]] = {}
        self._liars: set[int] = set()

    @property
    def invited(self) -> tuple[int, ...]:
        """Numbers of the neighbours that were invited."""
        return self._invited

    @property
    def listed(self) -> tuple[int, ...]:
        """Numbers of the participants, once they are fixed."""
        return self._participants

    @property
    def summands(self) -> tuple[int, ...]:
        """Numbers of the neighbours whose rows are in the sum, once they are fixed."""
        return self._survivors

    @property
    def forgers(self) -> frozenset[int]:
        """Numbers of the participants whose sealed shares most of the others could not open."""
        count = Counter(each for accused in self._accused.values() for each in accused)
        return frozenset(each for each in count if 2 * count[each] > len(self._participants) - 1)

    @property
    def liars(self) -> tuple[int, ...]:
        """Numbers of the survivors that revealed other shares than they had been given."""
        return tuple(sorted(self._liars))

    def invitation(self, present: Collection[int]) -> Invitation:
        """Invite the neighbours that are present and have shown their keys; a second time, all begin anew.

        Raises
        ------
        TooFewSummands
        InconsistentSum
            A row has arrived.
        """
        invited = [each for each in self.session.neighbours if each in present and each in self._keys]
        self._require_enough(invited, "can be invited")
        if self._rows:
            raise InconsistentSum("a row has arrived, and shares are those of its sum")
        self._invited, self._shared = tuple(invited), {}
        self._participants, self._accused = (), {}
        return Invitation(
            places=tuple(map(self.session.place, invited)), keys=keys_digest(map(self._keys.key_of, invited))
        )

    def shared(self, number: int, shares: SealedShares) -> None:
        """Take a neighbour's answer to the invitation.

        Raises
        ------
        InconsistentSum
            It was not invited, has answered otherwise, or is too late, or its shares are not for all invited.
        """
        if number not in self._invited or len(shares.sealed) != len(self._invited) - 1:
            raise InconsistentSum(f"the shares of member {number} are not those of an invited neighbour")
        if self._participants and number not in self._participants:
            raise InconsistentSum(f"member {number} shared its secrets too late")
        if self._shared.setdefault(number, shares) != shares:
            raise InconsistentSum(f"member {number} shared its secrets twice")

    def fix_participants(self) -> tuple[int, ...]:
        """Fix who takes part: those that have shared their secrets.

        Raises
        ------
        TooFewSummands
        """
        if not self._participants:
            self._require_enough(self._shared, "have shared their secrets")
            self._participants = tuple(sorted(self._shared))
        return self._participants

    def participants(self, number: int) -> Participants:
        """Return what a participant is told of the others.

        Raises
        ------
        TooFewSummands
        """
        self.fix_participants()
        others = []
        for other in self._participants:
            if other != number:
                shares = self._shared[other]
                addressees = [each for each in self._invited if each != other]
                others.append(
                    Participant(public=shares.public, sealed=shares.sealed[addressees.index(number)])
                )
        places = tuple(map(self.session.place, self._participants))
        return Participants(places=places, others=tuple(others))

    def accused(self, number: int, accused: Iterable[int]) -> None:
        """Take note of the participants whose shares another one could not open."""
        if number in self._participants:
            self._accused[number] = frozenset(accused) & frozenset(self._participants) - {number}

    def row(self, number: int, masked: RingRow) -> None:
        """Take a masked row.

        Raises
        ------
        InconsistentSum
            Its sender does not take part, has sent another, or is too late.
        """
        if number not in self._participants or number in self._rows or self._survivors:
            raise InconsistentSum(f"member {number} has no row in this sum, or it is too late")
        self._rows[number] = masked

    def survivors(self) -> Survivors:
        """Fix whose rows are in the sum.

        Raises
        ------
        TooFewSummands
        """
        if not self._survivors:
            self._require_enough(self._rows, "have sent their rows")
            self._survivors = tuple(sorted(self._rows))
        return Survivors(tuple(map(self.session.place, self._survivors)))

    def confirmed(self, number: int, signature: bytes) -> None:
        """Take a survivor's signature.

        Raises
        ------
        InconsistentSum
            It is not of this list, or of another member.
        """
        content = survivors_content(self.survivors(), session=self.session)
        if number not in self._survivors or not is_signed_by(
            self._keys.identity_of(number), content, signature
        ):
            raise InconsistentSum(f"member {number} has not signed the list of survivors")
        self._signatures[number] = signature

    def signatures(self) -> Signatures:
        """Return as many signatures as are needed.

        Raises
        ------
        TooFewSummands
        """
        self._require_enough(self._signatures, "have signed the list of survivors")
        chosen = sorted(self._signatures)[: self.session.threshold]
        return Signatures(tuple((self.session.place(each), self._signatures[each]) for each in chosen))

    def revealed(self, number: int, shares: RevealedShares) -> None:
        """Take a survivor's shares.

        Raises
        ------
        InconsistentSum
            It is not a survivor, or the shares are not one for each participant.
        """
        if number not in self._survivors or len(shares.shares) != len(self._participants):
            raise InconsistentSum(f"the shares that member {number} reveals are not one for each participant")
        self._revealed[number] = shares

    def total(self) -> RingRow:
        """Return the sum of the survivors' rows.

        Shares beyond the threshold make up for wrong ones, whose senders are `liars` afterwards.

        Raises
        ------
        TooFewSummands
            Too few have revealed their shares.
        WrongShare
            The shares of a participant's secret do not lead to it.
        """
        self._require_enough(self._revealed, "have revealed their shares")
        secrets = [self._recovered(index, number) for index, number in enumerate(self._participants)]
        wrong = [each for each, secret in zip(self._participants, secrets, strict=True) if secret is None]
        if wrong:
            raise self._wrong(wrong)
        rows = [self._rows[each] for each in self._survivors]
        total = ring_sum(rows, like=rows[0])
        for number, secret in zip(self._participants, secrets, strict=True):
            assert secret is not None  # noqa: S101  (none is wrong)
            if number in self._survivors:
                add_stream(total, self_key(secret, session=self.session, number=number), subtract=True)
            else:
                self._cancel(total, number, secret)
        return total

    def _cancel(self, total: RingRow, dropped: int, seed: bytes) -> None:
        """Remove the masks that survivors share with a neighbour whose row is not in the sum."""
        private = private_key(seed, session=self.session.id, number=dropped)
        for survivor in self._survivors:
            secret = agreed(private, self._shared[survivor].public)
            key = pairwise_key(secret, dropped, survivor, session=self.session)
            add_stream(total, key, subtract=survivor < dropped)

    def _recovered(self, index: int, number: int) -> bytes | None:
        """The secret of a participant; None if no shares lead to it."""
        shares = {each: revealed.shares[index] for each, revealed in self._revealed.items()}
        most = min(_MOST_CHOICES, _MOST_PRODUCTS // self.session.threshold**2)
        for chosen in islice(self._choices(), most):
            secret = self._from({each: shares[each] for each in chosen})
            if self._is_secret_of(number, secret):
                rest = {each: shares[each] for each in chosen[1:]}
                others = shares.keys() - set(
                    chosen
                )  # on the same polynomial, each may stand in for the first
                self._liars |= {each for each in others if self._from({each: shares[each], **rest}) != secret}
                return secret
        return None

    def _choices(self) -> Iterator[tuple[int, ...]]:
        """As many survivors as the threshold: those not known to lie first, then without one of these, two, …."""
        ordered = sorted(self._revealed, key=lambda each: (each in self._liars, each))
        threshold = self.session.threshold
        for count in range(len(ordered) - threshold + 1):
            for out in combinations(ordered[: threshold + count], count):
                yield tuple(each for each in ordered if each not in out)[:threshold]

    def _from(self, shares: Mapping[int, bytes]) -> bytes:
        return recovered({self.session.place(each): share for each, share in shares.items()})

    def _is_secret_of(self, number: int, secret: bytes) -> bool:
        shared = self._shared[number]
        if number in self._survivors:
            return commitment_of(secret, session=self.session) == shared.commitment
        private = private_key(secret, session=self.session.id, number=number)
        return private.public_key().public_bytes_raw() == shared.public

    def _wrong(self, members: Sequence[int]) -> WrongShare:
        """Only where others' secrets were found, and with shares to spare, is it likely enough who lies."""
        blames = len(members) < len(self._participants) and len(self._revealed) > self.session.threshold
        least = len(self._revealed) - self.session.threshold + 1
        error = WrongShare(
            f"the shares of the secrets of members {', '.join(map(str, members))} do not lead to them: "
            + (
                f"they lie, or {least} or more of the others do"
                if blames
                else "they, or neighbours that revealed shares, lie"
            )
        )
        error.members = tuple(members) if blames else ()
        return error

    def _require_enough(self, present: Collection[int] | Mapping[int, object], what: str) -> None:
        if len(present) < self.session.threshold:
            absent = ", ".join(map(str, self.session.without(present)))
            raise TooFewSummands(
                f"too few neighbours {what} to unmask the sum of exchange {self.session.exchange} of round "
                f"{self.session.round}: members {absent} dropped out",
                expected=f"{self.session.threshold} or more of {len(self.session.neighbours)}",
                got=len(present),
            )
