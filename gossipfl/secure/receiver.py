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

from collections.abc import Collection, Mapping

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

    def invitation(self, present: Collection[int]) -> Invitation:
        """Invite the neighbours that are present and have shown their keys; a second time, all begin anew.

        Raises
        ------
        TooFewSummands
        """
        invited = [each for each in self.session.neighbours if each in present and each in self._keys]
        self._require_enough(invited, "can be invited")
        self._invited, self._shared = tuple(invited), {}
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

        Raises
        ------
        TooFewSummands
            Too few have revealed their shares.
        WrongShare
            The shares of a participant's secret do not lead to it.
        """
        self._require_enough(self._revealed, "have revealed their shares")
        rows = [self._rows[each] for each in self._survivors]
        total = ring_sum(rows, like=rows[0])
        for index, number in enumerate(self._participants):
            secret = self._recovered(index)
            if number in self._survivors:
                if commitment_of(secret, session=self.session) != self._shared[number].commitment:
                    raise _wrong(number)
                add_stream(total, self_key(secret, session=self.session, number=number), subtract=True)
            else:
                self._cancel(total, number, secret)
        return total

    def _cancel(self, total: RingRow, dropped: int, seed: bytes) -> None:
        """Remove the masks that survivors share with a neighbour whose row is not in the sum."""
        private = private_key(seed, session=self.session.id, number=dropped)
        if private.public_key().public_bytes_raw() != self._shared[dropped].public:
            raise _wrong(dropped)
        for survivor in self._survivors:
            secret = agreed(private, self._shared[survivor].public)
            key = pairwise_key(secret, dropped, survivor, session=self.session)
            add_stream(total, key, subtract=survivor < dropped)

    def _recovered(self, index: int) -> bytes:
        chosen = sorted(self._revealed)[: self.session.threshold]
        return recovered({self.session.place(each): self._revealed[each].shares[index] for each in chosen})

    def _require_enough(self, present: Collection[int] | Mapping[int, object], what: str) -> None:
        if len(present) < self.session.threshold:
            absent = ", ".join(map(str, self.session.without(present)))
            raise TooFewSummands(
                f"too few neighbours {what} to unmask the sum of exchange {self.session.exchange} of round "
                f"{self.session.round}: members {absent} dropped out",
                expected=f"{self.session.threshold} or more of {len(self.session.neighbours)}",
                got=len(present),
            )


def _wrong(number: int) -> WrongShare:
    return WrongShare(
        f"the shares of member {number}'s secret do not lead to it: it, or a neighbour that revealed one, lies"
    )
