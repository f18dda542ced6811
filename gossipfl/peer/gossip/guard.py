"""Protection of a peer's model from received ones: its gatekeeper, counters, and a watch on the model itself."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import Tensor

from gossipfl.algorithms.gate import LEARNED_LOSS_SHARE, Admission, Arrival, Gatekeeper, LossProbe
from gossipfl.algorithms.gossip.sharing import WHOLE, Sharing
from gossipfl.settings.gate import GateSettings
from gossipfl.training import Nodes
from gossipfl.training.nodes import before_rest

__all__ = ["Guard"]

_SPOILED_LOSS_SHARE = 1.25  # of the initial loss: above it, everything learned is lost
#: The same among the first models: where data are much unlike, those of neighbours may be worse than none.
_EARLY_SPOILED_LOSS_SHARE, _EARLY_MODELS = 5.0, 200
_RUINED_LOSS_SHARE = 100.0  # of the initial loss: above it, a model has nothing left to learn from
# In a row: a step of one's own may spoil a model too, and the next merges mend that.
_LOOKS_BEFORE_SPOILED = 4


class Guard:
    """Decides how far received models are merged, and detects when the peer's own has been spoiled.

    Used by one thread at a time.

    Parameters
    ----------
    probe : LossProbe, optional
        Without one, losses are not considered.
    clock : callable
        Returns the seconds of a monotonic clock.
    neighbours : callable
        Returns the number of neighbours that the peer knows.
    sharing : Sharing
        How much of a model is received at a time.
    """

    def __init__(
        self,
        settings: GateSettings,
        probe: LossProbe | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        neighbours: Callable[[], int] = lambda: 0,
        sharing: Sharing = WHOLE,
    ) -> None:
        self._sharing = sharing
        self._neighbours = neighbours
        self._gatekeeper = Gatekeeper(settings)
        self._probe = probe
        self._clock = clock
        self._best = math.inf
        self._spoiled_looks = 0
        self.counts: Counter[str] = Counter()

    def is_quarantined(self, peer_id: str) -> bool:
        """Return whether nothing is accepted from a peer at present."""
        return self._gatekeeper.is_quarantined(peer_id, now=self._clock())

    def admit(
        self,
        nodes: Nodes,
        *,
        sender: str,
        version: tuple[int, int],
        shared: Tensor,
        part: int | None = None,
        size: int,
        age: int,
        is_answer: bool,
    ) -> Admission:
        """Judge one received model.

        Parameters
        ----------
        nodes : Nodes
            The peer's own, ``B = 1``.
        version : tuple of int
            Version of the sender's model.
        shared : Tensor
            Shape ``[1, shared_size]``, or the numbers of the part.
        part : int, optional
            Which part it is. It is judged beside the same part of the peer's own model, and by the loss of that
            model with this part in it.
        size : int
            Number of shared parameters.
        age : int
            Claimed age.
        is_answer : bool
            Whether this peer has chosen the sender, and asked it.
        """
        number = part or 0
        own = nodes.rows[:, :size]

        def losses(numbers: Tensor) -> tuple[float, float]:
            assert self._probe is not None  # noqa: S101 - checked below
            row = self._sharing.filled(own, number, numbers)
            return self._probe.loss(before_rest(row, nodes.rows)), self._probe.initial

        admission = self._gatekeeper.admit(
            Arrival(
                sender=sender,
                own=self._sharing.numbers(own, number),
                own_age=int(nodes.ages.max()),
                received=shared,
                part=part,
                age=age,
                now=self._clock(),
                version=version,
                is_answer=is_answer,
                losses=None if self._probe is None else losses,
                neighbours=self._neighbours(),
            )
        )
        self.counts[admission.reason] += 1
        return admission

    def is_sound(self, nodes: Nodes) -> bool:
        """Return whether a version of the peer's own model is no worse than untrained.

        One that has never learned may be worse, but not many times, and among the first models any may be.
        """
        if self._probe is None:
            return True
        loss = self._probe.loss(nodes.rows)
        self._best = min(self._best, loss)
        if self._best > LEARNED_LOSS_SHARE * self._probe.initial:
            return loss <= _RUINED_LOSS_SHARE * self._probe.initial
        is_early = self.counts.total() <= _EARLY_MODELS
        return loss <= (_EARLY_SPOILED_LOSS_SHARE if is_early else _SPOILED_LOSS_SHARE) * self._probe.initial

    def forget_comparisons(self) -> None:
        """Judge models by those that come from now on: the peer's own has been replaced."""
        self._gatekeeper.forget_comparisons()

    @property
    def suspects(self) -> bool:
        """Whether the peer's own model looked spoiled the last time."""
        return self._spoiled_looks > 0

    def is_spoiled(self, nodes: Nodes) -> bool:
        """Look at the peer's own model, and return whether it was unsound several times in a row."""
        self._spoiled_looks = 0 if self.is_sound(nodes) else self._spoiled_looks + 1
        if self._spoiled_looks < _LOOKS_BEFORE_SPOILED:
            return False
        self._spoiled_looks = 0
        return True

    def described(self) -> dict[str, Any]:
        """Return the decisions so far, and the quarantined peers, for the status."""
        return {
            "decisions": dict(self.counts),
            "quarantined": self._gatekeeper.quarantined(now=self._clock()),
        }
