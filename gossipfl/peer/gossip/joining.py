"""A newcomer's initial model: the best of several on its own held-out samples, not the first to arrive.

Since models are weighted by age, a newcomer at age 0 would adopt whatever model reaches it first, and so would a
peer that returns with an outdated model. Both hold back models that are far ahead of their own until they have
received several, and start with the one that is best on their test samples, if it is better by a tenth than their
own now, and than their own at the start. Its age is credited only as far as half of the others support it, or
without others as far as the fastest plausible pace explains it: an age of 2⁴⁰, once adopted, would be for good.
The gate credits the rest later, once more senders support it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from statistics import median_low
from typing import Any

import trio
from torch import Tensor

from gossipfl.algorithms.messages import LARGEST_AGE
from gossipfl.peer.gossip.events import Incoming
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.threads import run_abandonable
from gossipfl.training.nodes import before_rest

__all__ = ["AWAY_SECONDS", "Joining"]

logger = logging.getLogger(__name__)

#: A peer whose checkpoint is older than this is treated as a newcomer.
AWAY_SECONDS = 600.0
#: Training steps by which a model must be ahead to be held back.
_FAR_AHEAD = 100
# Of models that have learned nothing one is always a little better by chance, such as the opposite of one's own.
_MUCH_BETTER = 0.9
_LEAST_PERIODS, _MOST_PERIODS = 2, 10


@dataclass(kw_only=True, eq=False)
class Joining:
    """Holds models back until there are several to choose from.

    Parameters
    ----------
    loss : callable
        Returns the mean loss of whole rows ``[1, D]`` on the peer's held-out samples.
    start_loss : float
        That of the model with which this peer started: its first steps may have made it worse than untrained.
    several : int
        Number of peers to receive from.
    most_bytes : int
        Memory of the models that may be held back; of two large ones the worse is dropped at once.
    period : float
        Seconds between the exchanges that this peer starts.
    pace : float
        Most training steps a second that are plausible if only one peer was heard.
    away : float
        Seconds since this peer saved the model with which it comes back.
    record : callable
        Called with one record of the choice.
    """

    learner: Learner
    loss: Callable[[Tensor], float]
    start_loss: float
    several: int
    most_bytes: int
    period: float
    pace: float
    away: float
    record: Callable[[Mapping[str, Any]], None]

    def __post_init__(self) -> None:
        self._held: dict[str, Incoming] = {}
        self._losses_of_dropped: dict[str, float] = {}
        self._ages: dict[str, int] = {}
        self.heard: set[str] = set()
        self.is_over = False

    @property
    def held_bytes(self) -> int:
        """Memory of the models that are held back."""
        return sum(each.nbytes for each in self._held.values())

    def hold(self, incoming: Incoming) -> bool:
        """Hold a model back if it is far ahead; return False if it should be merged as usual."""
        if self.is_over:
            return False
        is_ahead = int(incoming.message.ages.min()) > self.learner.state.age + _FAR_AHEAD
        if incoming.sender in self._ages or len(self._ages) < self.several:
            self._ages[incoming.sender] = int(incoming.message.ages.max())
            if is_ahead:
                self._held[incoming.sender] = incoming
        self.heard.add(incoming.sender)
        return is_ahead

    async def choose(self, known: Callable[[], Collection[str]]) -> None:
        """Wait for several models, or for as long as more may arrive after the first, and start with the best.

        Parameters
        ----------
        known : callable
            Returns the peers that could send one.
        """
        started = began = trio.current_time()
        while len(self.heard) < self.several:
            await trio.sleep(self.period / 4)
            await self._make_room()
            if not self.heard:  # alone, it may have to wait for long, and learns meanwhile
                began = trio.current_time()
            periods = (trio.current_time() - began) / self.period
            if periods > _MOST_PERIODS or (periods > _LEAST_PERIODS and self.heard.issuperset(known())):
                break
        if self._held:
            await self._choose_among(dict(self._held), waited=trio.current_time() - started)
        self.is_over = True  # not before: what arrives meanwhile would be merged before the choice
        self._held.clear()

    async def _make_room(self) -> None:
        """Drop the worst model, if there is no memory for another one as large."""
        held = dict(self._held)
        if len(held) < 2 or self.held_bytes * (len(held) + 1) <= self.most_bytes * len(held):
            return
        losses = await run_abandonable(self._losses, self.learner.state.nodes.rows, held)
        worst = max(held, key=losses.__getitem__)
        if self._held[worst] is held[worst]:
            del self._held[worst]
            self._losses_of_dropped[worst] = losses[worst]

    async def _choose_among(self, held: Mapping[str, Incoming], *, waited: float) -> None:
        own = self.learner.state.nodes.rows
        losses = await run_abandonable(self._losses, own, held)
        best = min(losses, key=losses.__getitem__)
        is_better = losses[best] < _MUCH_BETTER * min(losses[""], self.start_loss)
        losses = self._losses_of_dropped | losses
        finite = {peer: each if math.isfinite(each) else None for peer, each in losses.items()}
        own_loss = finite.pop("")
        self.record(
            {"kind": "join", "own_loss": own_loss, "losses": finite, "chosen": best if is_better else None}
        )
        if is_better:
            logger.info(
                "started with the model of %s…, the best of %d on held-out samples", best[:16], len(held)
            )
            credited = self._credited_age(best, waited=waited)
            while not self.learner.offer(replace(held[best], chosen_age=credited)):
                await trio.sleep(self.period / 4)

    def _credited_age(self, chosen: str, *, waited: float) -> int:
        others = [age for peer, age in self._ages.items() if peer != chosen]
        if others:
            return min(self._ages[chosen], median_low(self._ages.values()))
        explained = min(self.pace * (self.away + waited), LARGEST_AGE)
        return min(self._ages[chosen], self.learner.state.age + _FAR_AHEAD + int(explained))

    def _losses(self, own: Tensor, held: Mapping[str, Incoming]) -> dict[str, float]:
        """Return the losses by peer, the own one under the empty name."""
        losses = {"": self.loss(own)}
        for peer, incoming in held.items():
            losses[peer] = self.loss(before_rest(incoming.message.shared, own))
        return losses
