"""Sets of members' masked counts of words, round by round: everybody learns the noisy sums, and no single count.

Every member tells a key. Once it knows those of all, it tells its counts of the first round, with noise and a
mask for each other member; masks cancel when all are added. What to count in the next round follows from the
sums, which are the same at all. Nobody may be missing. A member that starts again has another key, with which
the sums told so far cannot be had, so all give up, and nobody tells the same counts under other masks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from typing import ClassVar, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from gossipfl.errors import GossipflError, MalformedStatement, StatisticsMissing
from gossipfl.peer.statistics.collection import Record, SetOfStatements
from gossipfl.secure.integers import masked_row
from gossipfl.settings.addresses import peer_id_of
from gossipfl.tasks.words.hitters import Offer, Round, WordPlan, counted, first_round, following, noisy_counts
from gossipfl.wire.masked_counts import CountsStatement, MaskedCounts, read_masked_counts, write_masked_counts

__all__ = ["MaskedWords"]

_PREFIX: Final = b"gossipfl masked words 1\n"


class MaskedWords(SetOfStatements[CountsStatement]):
    """Masked counts of a roster's members, as far as they are known here.

    Parameters
    ----------
    plan : WordPlan
        For as many members as the roster has.
    network : bytes, length 32
    offer : Offer
        Words of this peer's owner.
    key : bytes, length 32
        This peer's public key.
    roster : collection of bytes
        Public keys of all members, this one's included.
    sign : callable
        Signs with this peer's identity.
    admit : callable
        As for `SetOfStatements`.
    spend : callable
        Called once, before the first counts are told; raises `GossipflError` if the privacy budget does not
        allow it.
    normals : callable
        Returns secret standard normal numbers of a shape.
    """

    common_ground: ClassVar[str] = "plan of words"

    def __init__(
        self,
        plan: WordPlan,
        network: bytes,
        *,
        offer: Offer,
        key: bytes,
        roster: Collection[bytes],
        sign: Callable[[bytes], bytes],
        admit: Callable[[bytes, bytes], object],
        spend: Callable[[], object],
        normals: Callable[[int, int], NDArray[np.float64]],
    ) -> None:
        super().__init__(network, admit=admit)
        self.plan, self._offer, self._key, self._sign = plan, offer, key, sign
        self._spend, self._normals = spend, normals
        self._roster = tuple(sorted({*roster, key}))
        self._private = X25519PrivateKey.generate()
        self._public: dict[bytes, bytes] = {}
        self._now: Round = first_round(plan)
        self._told: list[MaskedCounts] = []
        self._is_outdated = False
        self._broken: GossipflError | None = None

    @property
    def digest(self) -> bytes:
        """Digest of the plan, which all members must have."""
        return hashlib.sha256(_PREFIX + self.plan.digest).digest()

    @property
    def is_outdated(self) -> bool:
        """Whether this peer has counts to tell."""
        return self._is_outdated

    @property
    def members(self) -> dict[str, int]:
        """All members by peer id, once the words are found, and none before; how many each offered is not told.

        Raises
        ------
        GossipflError
            The words cannot be found any more.
        """
        if self._broken is not None:
            raise self._broken
        return {peer_id_of(key): 0 for key in self._roster} if self._now.is_over else {}

    @property
    def progress(self) -> str:
        """How far it has come, for people."""
        if self._now.is_over:
            return f"{len(self._roster)} members, all counts"
        if not self._public:
            return f"{sum(key in self._kept for key in self._roster)} of {len(self._roster)} members"
        there = sum(self._counts(key) is not None for key in self._roster)
        return (
            f"round {self._now.number}, at most {self.plan.rounds}: {there} of {len(self._roster)} members' "
            f"{self._now.size} counts"
        )

    @property
    def words(self) -> Round:
        """What was found so far."""
        return self._now

    def add(self, record: Record) -> bool:
        """Keep a record, as `SetOfStatements` does, and go on to the next round once all of this one are there."""
        is_new = super().add(record)
        if is_new and self._broken is None:
            try:
                self._go_on()
            except GossipflError as error:
                self._broken = error
        return is_new

    def statement(self, sequence: int) -> bytes:
        """Return this peer's own statement: its key, and its last masked counts."""
        self._is_outdated = False
        statement = CountsStatement(
            key=self._key,
            network=self.network,
            plan=self.digest,
            sequence=sequence,
            public=self._own_public(),
            round=self._now.number if self._told else 0,
            counts=tuple(self._told),
        )
        return write_masked_counts(statement, sign=self._sign)

    def _own_public(self) -> bytes:
        return self._private.public_key().public_bytes_raw()

    def _read(self, record: Record) -> CountsStatement:
        return read_masked_counts(record.data, plan=self.digest, network=self.network)

    def _go_on(self) -> None:
        if self._now.is_over:
            return
        known = {key: self._statement(key) for key in self._roster}
        public = {key: each.public for key, each in known.items() if each is not None}
        if not self._public:
            if len(public) == len(self._roster) and public[self._key] == self._own_public():
                self._public = public
                self._spend()
                self._tell(bytes(32))
            return
        again = [key for key, each in public.items() if self._public[key] != each]
        if again:
            raise StatisticsMissing(
                f"{peer_id_of(again[0])} started again after counts were told, so that their sums cannot be had",
                remedy="Run the command again at all members, at the same time. It spends its ε once more.",
            )
        told = [self._counts(key) for key in self._roster]
        if any(each is None for each in told):
            return
        rows = [each.row for each in told if each is not None]
        sums: NDArray[np.uint32] = np.stack(rows).sum(axis=0, dtype=np.uint32)
        before, number = self._told[-1].session, self._now.number
        self._now = following(self._now, sums.view(np.int32).astype(np.int64))
        if self._now.is_over:  # what is told last stays told, for those that still need it
            self._now = Round(self.plan, number, (), (), self._now.found)
        else:
            self._tell(before)

    def _tell(self, before: bytes) -> None:
        """Draw noise and masks for the counts of this round; they are told with the next statement."""
        session = self._session(before)
        [noisy] = noisy_counts(counted([self._offer], self._now), self.plan, self._normals)
        row = masked_row(
            noisy.astype(np.uint32),
            own=self._key,
            private=self._private,
            public=self._public,
            session=session,
            purpose=b"words",
        )
        self._told = [*self._told[-1:], MaskedCounts(session, row)]
        self._is_outdated = True

    def _session(self, before: bytes) -> bytes:
        content = [
            _PREFIX,
            self.network,
            self.digest,
            before,
            *(key + self._public[key] for key in self._roster),
        ]
        content += [f"{name}\n".encode() for name in (*self._now.listed, *self._now.nodes)]
        return hashlib.sha256(b"".join(content)).digest()

    def _counts(self, key: bytes) -> MaskedCounts | None:
        """A member's counts of this round, if it has told them."""
        statement = self._statement(key)
        counts = None if statement is None else statement.of_round(self._now.number)
        if counts is None:
            return None
        if counts.session != self._told[-1].session or len(counts.row) != self._now.size:
            raise MalformedStatement(
                f"{peer_id_of(key)} has told counts of something else than round {self._now.number} of this run",
                remedy="Run the command again at all members, with the same options.",
            )
        return counts
