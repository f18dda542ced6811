"""Secret noise of an algorithm in rounds, a peer's own and shared with neighbours, and the budget it spends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from secrets import token_bytes

import numpy as np
import torch
import trio
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms.round_noise import PrivateRounds, RoundNoise
from gossipfl.errors import GossipflError
from gossipfl.outgoing import secret_normals
from gossipfl.outgoing.noise import SECRET_BYTES
from gossipfl.peer.rounds.summing_neighbours import Neighbourhood
from gossipfl.privacy.ledger import BudgetSpent, PrivacyLedger
from gossipfl.rounds.plan import RoundsPlan
from gossipfl.secure.masks import derived

__all__ = ["NoiseOfRounds", "SecretNoise"]

logger = logging.getLogger(__name__)


class SecretNoise(RoundNoise):
    """Noise of one peer in one round.

    Parameters
    ----------
    links : mapping of int to bytes
        Secrets of 32 bytes shared with neighbours in this round, by number. Noise of other links is drawn from a
        secret of its own, so that nothing cancels it.
    number : int
        The peer's own.

    Attributes
    ----------
    with_starts : mapping of int to int
        The start of each neighbour with which a secret is shared, by its number.
    """

    def __init__(self, links: Mapping[int, bytes], *, number: int) -> None:
        self._links, self._number = links, number
        self.with_starts: Mapping[int, int] = {}
        self._own = secret_normals(token_bytes(SECRET_BYTES))

    def own(self, width: int, *, purpose: int = 0) -> Tensor:
        """Draw for the peer; see `RoundNoise`."""
        return self._own(torch.tensor([purpose]), width)

    def edge(self, first: int, second: int, width: int, *, purpose: int = 0) -> Tensor:
        """Draw for one of its links; see `RoundNoise`."""
        other = second if first == self._number else first
        secret = self._links.get(other) or token_bytes(SECRET_BYTES)
        return secret_normals(secret)(torch.tensor([purpose]), width).squeeze(0)


class NoiseOfRounds:
    """What a peer draws for each round, spent before it is drawn.

    Neighbours' secrets come from keys that each shows the others once in every start, signed by its identity. All
    noise is new in each round of each start, so none protects two different gradients.

    Parameters
    ----------
    plan : RoundsPlan
    around : Neighbourhood, optional
        The neighbours' keys, for noise that they share.
    ledger : PrivacyLedger, optional
    seconds : float
        Time in which neighbours that are there must have shown their keys.
    note : callable
        Told what the operator should know once the budget is spent.
    """

    def __init__(
        self,
        plan: RoundsPlan,
        *,
        around: Neighbourhood | None,
        ledger: PrivacyLedger | None,
        seconds: float,
        note: Callable[[str], None],
    ) -> None:
        self._seconds = seconds
        self._plan, self._around, self._ledger, self._note = plan, around, ledger, note
        self._shifts: dict[bytes, float] = {}
        self.is_spent = False
        if around is not None:
            around.keys.admit(around.key.signed)

    @property
    def is_shared(self) -> bool:
        """Whether neighbours share noise."""
        return self._around is not None

    async def prepare(self, round_number: int) -> None:
        """Get the keys of this round's neighbours, as far as they answer soon."""
        around = self._around
        if around is None:
            return
        until = trio.current_time() + self._seconds
        with trio.move_on_at(until):
            async with trio.open_nursery() as nursery:
                for number in self._neighbours(round_number):
                    if self._lacks(around, number):
                        nursery.start_soon(self._introduce, around, number, round_number, until)

    def begin(self, round_number: int) -> tuple[SecretNoise, bool]:
        """Spend what a round takes, and return its noise and whether the peer's gradient may be in it."""
        may_train = self._may_spend(round_number)
        links, starts = {}, {}
        if self._around is not None:
            around = self._around
            for number in self._neighbours(round_number):
                if number in around.keys:
                    key = around.keys.key_of(number)
                    agreed, starts[number] = around.key.agreed_with(key), key.incarnation
                    session = self._plan.agreement + round_number.to_bytes(8, "little")
                    links[number] = derived(agreed, session=session, purpose=b"noise of a link")
        noise = SecretNoise(links, number=self._plan.number)
        noise.with_starts = starts
        return noise, may_train

    def _may_spend(self, round_number: int) -> bool:
        algorithm = self._plan.algorithm
        if self._ledger is None or not isinstance(algorithm, PrivateRounds):
            return True
        if self.is_spent:
            return False
        linked = _linked(self._plan, round_number)
        key = linked.tobytes()
        if key not in self._shifts:
            self._shifts = {key: float(algorithm.shifts(linked)[self._plan.number])}
        try:
            self._ledger.spend(self._shifts[key])
        except BudgetSpent as error:
            self.is_spent = True
            logger.warning("%s", error)
            self._note(f"{error.what}: this peer adds its gradients no more")
            return False
        return True

    def _neighbours(self, round_number: int) -> list[int]:
        row = _linked(self._plan, round_number)[self._plan.number]
        return [int(number) for number in np.flatnonzero(row)]

    def _lacks(self, around: Neighbourhood, number: int) -> bool:
        if around.members.is_absent(number):
            return False
        if number not in around.keys:
            return True
        claim = around.mailbox.claims.get(number)
        return claim is not None and claim.incarnation > around.keys.key_of(number).incarnation

    async def _introduce(self, around: Neighbourhood, number: int, round_number: int, until: float) -> None:
        around.forgets(number)
        try:
            await around.introduce(number, (round_number, 0), [self._plan.number], until=until)
        except GossipflError as error:
            logger.debug("member %d has shown no key: %s", number, error)


def _linked(plan: RoundsPlan, round_number: int) -> NDArray[np.bool_]:
    """Which members are neighbours in a round, bool ``[n, n]``."""
    linked: NDArray[np.bool_] = plan.mixing.sequence.matrix(round_number).toarray() != 0
    np.fill_diagonal(linked, val=False)
    return linked
